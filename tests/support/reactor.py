"""A race of pynetdicom as a client, mended: its reactor may take a response for itself and drop it.

`Association.send_*` stops the reactor's thread first, but believes that it stands still when it is only about to look
whether it should. A quick answer on a busy machine is then "received unexpected", and waited for in vain.
"""

import threading

from pynetdicom.association import Association


def _stands_still(association: Association) -> bool:
    waiting = association._reactor_checkpoint._cond._waiters  # type: ignore[attr-defined]
    is_ours = threading.current_thread() is association
    return bool(waiting) or is_ours or association._kill or not association.is_alive()


def mend() -> None:
    """Let every association know better."""
    Association._is_paused = property(_stands_still, lambda association, value: None)  # type: ignore[assignment]
