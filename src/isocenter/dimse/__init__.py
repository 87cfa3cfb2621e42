"""The DICOM protocol: PDUs, associations and DIMSE messages, without knowledge of data sets.

Reading order: ``protocol_error.py`` and ``items.py`` (bricks), ``user_information.py``, ``pdu.py``
and ``commands.py`` (the codecs), ``status.py``, ``negotiation.py`` (pure decisions),
``state_table.py`` (Table 9-10 of PS3.8), ``indications.py``, ``messages.py`` and
``receive_buffer.py`` (fragments), ``association.py`` (the state machine, bytes in and indications
out), ``transport.py`` (its connection), ``data_sink.py``, ``receiving.py``, ``serving.py``,
``responses.py`` and ``sending.py`` (one direction of messages each), ``exchange.py`` (the
association that doors see), ``acceptor.py`` and ``requestor.py`` (the two ways to get one). May
import ``errors`` only.
"""
