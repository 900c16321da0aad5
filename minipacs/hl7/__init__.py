"""HL7 v2 over MLLP: orders become the worklist, each message is answered when what it asks for is done."""
