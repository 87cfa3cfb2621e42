"""Repeatable measurements of Isocenter, side by side with Orthanc.

Reading order: ``headers`` and ``studies`` (what is sent), ``servers`` and ``processes`` (who
receives it), ``storescu``, ``uploads`` and ``wrk`` (the clients), ``stage`` and ``workloads`` (one
measurement), ``lines`` (the table of measurements with their targets), ``memory`` (resident
memory), ``report`` (medians, ratios, the table), ``compare`` (``make bench``). Beside them:
``capacity`` shows what the clients can do, ``scale`` and ``scale_fill`` what a million instances
cost. Nothing here is part of the product.
"""
