"""Commands of the command line that are more than a call: arguments, messages, exit status.

Read in this order: ``settings`` (the configuration), ``terminal`` (progress and reports on a
terminal or in a file), ``importing`` with ``remote`` (files into an archive, or to a server),
``adopting`` (the archive of an Orthanc). A command builds the parts that it needs as the server
does, and leaves the work to ``archive``.
"""
