"""C-ECHO: the Verification service as SCP (PS3.4 A, PS3.7 9.1.5)."""

from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables import statuses
from minipacs.services.environment import Request


def echo(request: Request) -> CommandSet:
    """Answer."""
    final = request.response(statuses.SUCCESS)
    request.respond(final)
    return final
