"""The jobs engine: long operations that survive a crash, in order, under control.

Reading order: `states` (the table of transitions), `records` (a job, a step), `kind` (what a kind
of job must offer), `port` (where jobs are kept), `claims` (which job is next), `runner` (one job,
step by step), `engine` (all of them). It knows neither DICOM nor a database: the index implements
the port, and `tasks` the kinds. May import `clock` and `errors` only.
"""
