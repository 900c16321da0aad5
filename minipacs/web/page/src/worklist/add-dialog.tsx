import { useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { addStep } from "../api/worklist";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { dateOf } from "../parts/format";
import { Trouble } from "../parts/state";
import { tell } from "../parts/toast";
import { strings } from "../strings";
import { MODALITIES } from "../studies/search";

const words = strings.worklist;

/** A field of the form: the attribute that it fills, or a part of the name. */
interface Field {
  key: string;
  type?: "date" | "time";
  isNeeded?: boolean;
  isWide?: boolean;
  options?: [string, string][];
  suggestions?: boolean;
  maxLength?: number;
}

const MODALITY_OPTIONS: [string, string][] = MODALITIES.map((name) => [name, name]);

const FIELDS: Field[] = [
  { key: "family", isNeeded: true, maxLength: 60 },
  { key: "given", maxLength: 60 },
  { key: "PatientID", isNeeded: true, maxLength: 64 },
  { key: "PatientBirthDate", type: "date" },
  { key: "PatientSex", options: [["", ""], ...Object.entries(strings.studies.sexes)] },
  { key: "AccessionNumber", maxLength: 16 },
  { key: "Modality", isNeeded: true, options: [["", ""], ...MODALITY_OPTIONS] },
  { key: "ScheduledStationAETitle", isNeeded: true, suggestions: true, maxLength: 16 },
  { key: "ScheduledProcedureStepStartDate", type: "date", isNeeded: true },
  { key: "ScheduledProcedureStepStartTime", type: "time", isNeeded: true },
  { key: "ScheduledProcedureStepDescription", isWide: true, maxLength: 64 },
];

interface AddDialogProps {
  date: string;
  stations: string[];
  onClose: () => void;
  onAdded: () => void;
}

/** Schedules a procedure step. */
export function AddDialog({ date, stations, onClose, onAdded }: AddDialogProps) {
  const [values, setValues] = useState<Record<string, string>>({
    ScheduledProcedureStepStartDate: date.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3"),
    ScheduledProcedureStepStartTime: date === dateOf() ? new Date().toTimeString().slice(0, 5) : "08:00",
    ScheduledStationAETitle: stations[0] ?? "",
  });
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const add = async () => {
    setBusy(true);
    const answer = await addStep(written(values));
    setBusy(false);
    if (!answer.ok) {
      setProblem(answer.problem);
      return;
    }
    tell(words.added);
    onClose();
    onAdded();
  };
  const ends = (
    <>
      <Button onClick={onClose}>{strings.parts.cancel}</Button>
      <Button kind="main" type="submit" disabled={isBusy}>
        {words.addSubmit}
      </Button>
    </>
  );
  return (
    <Dialog title={words.addTitle} onClose={onClose} onSubmit={() => void add()} ends={ends}>
      {problem && <Trouble problem={problem} />}
      <div class="form">
        {FIELDS.map((field) => (
          <label class={`field ${field.isWide ? "wide" : ""}`} key={field.key}>
            <span>
              {words.fields[field.key]}
              {field.isNeeded && <abbr title={words.needed}> *</abbr>}
            </span>
            <Input
              field={field}
              value={values[field.key] ?? ""}
              onChange={(value) => setValues({ ...values, [field.key]: value })}
            />
          </label>
        ))}
      </div>
      <datalist id="stations">
        {stations.map((name) => (
          <option value={name} />
        ))}
      </datalist>
    </Dialog>
  );
}

function Input({ field, value, onChange }: { field: Field; value: string; onChange: (value: string) => void }) {
  const { type = "text", isNeeded = false, options, suggestions, maxLength } = field;
  if (options) {
    return (
      <select class="input" required={isNeeded} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([key, name]) => (
          <option value={key}>{name}</option>
        ))}
      </select>
    );
  }
  return (
    <input
      class="input"
      type={type}
      required={isNeeded}
      maxLength={maxLength}
      list={suggestions ? "stations" : undefined}
      value={value}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  );
}

/** Write the form as DICOM does: names with carets, dates and times in digits. */
function written(values: Record<string, string>): Record<string, string> {
  const { family = "", given = "", ...rest } = values;
  const name = [family, given].map((part) => part.trim().replace(/[\^=\\]/g, " "));
  const times = FIELDS.filter(({ type }) => type).map(({ key }) => [key, (values[key] ?? "").replace(/[-:]/g, "")]);
  return { ...rest, ...Object.fromEntries(times), PatientName: name.join("^").replace(/\^$/, "") };
}
