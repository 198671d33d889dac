"""Ray: sessions, the embedded cluster, dispatch of work to processes, and requests to stop."""
