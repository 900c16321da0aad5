import { useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { cancelStep, type Step } from "../api/worklist";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { clock, day } from "../parts/format";
import { Trouble } from "../parts/state";
import { Value } from "../parts/text";
import { tell } from "../parts/toast";
import { Identity } from "../studies/identity";
import { strings } from "../strings";
import { patientOf } from "./worklist";

const words = strings.worklist;

/** Cancels a step that has not begun, once that is confirmed. */
export function CancelDialog({
  step,
  onClose,
  onCanceled,
}: {
  step: Step;
  onClose: () => void;
  onCanceled: () => void;
}) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const cancel = async () => {
    setBusy(true);
    const answer = await cancelStep(step.id);
    setBusy(false);
    if (!answer.ok) {
      setProblem(answer.problem);
      return;
    }
    tell(words.canceled);
    onClose();
    onCanceled();
  };
  const ends = (
    <>
      <Button onClick={onClose}>{words.keep}</Button>
      <Button kind="danger main" type="submit" disabled={isBusy}>
        {words.cancelSubmit}
      </Button>
    </>
  );
  return (
    <Dialog title={words.cancelTitle} onClose={onClose} onSubmit={() => void cancel()} ends={ends}>
      <Identity patient={patientOf(step)} />
      <p>
        {day(step.ScheduledProcedureStepStartDate)} {clock(step.ScheduledProcedureStepStartTime)} ·{" "}
        <Value value={step.ScheduledStationAETitle} /> · <Value value={step.ScheduledProcedureStepDescription} />
      </p>
      <p class="faint">{words.cancelWords}</p>
      {problem && <Trouble problem={problem} />}
    </Dialog>
  );
}
