import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { may } from "../api/session";
import { readSteps, type Step } from "../api/worklist";
import { Button, ButtonLink } from "../parts/button";
import { clock, compare, dateOf, day, number } from "../parts/format";
import { useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { type Column, Table } from "../parts/table";
import { Value } from "../parts/text";
import { changed, go, link, route } from "../shell/route";
import { Identity } from "../studies/identity";
import { strings } from "../strings";
import { AddDialog } from "./add-dialog";
import { CancelDialog } from "./cancel-dialog";
import "./worklist.css";

const words = strings.worklist;

const LOOK_MS = 30_000;
const SCHEDULED = "SCHEDULED";

/** How each state looks. */
const KINDS: Record<string, string> = { SCHEDULED: "", STARTED: "warn", COMPLETED: "good", DISCONTINUED: "bad" };

/** What is to be done on a day, by station. */
export function Worklist() {
  const asked = route.value.query;
  const date = asked.get("day") || dateOf();
  const station = asked.get("station") ?? "";
  const state = asked.get("state") ?? "";
  const set = (changes: Record<string, string>) => go(changed(["worklist"], changes), { replace: true });
  const { value, problem, isLoading, again } = useLoaded((signal) => readSteps(date, signal), date, LOOK_MS);
  const [isAdding, setAdding] = useState(false);
  const [canceling, setCanceling] = useState<Step | null>(null);
  const stations = [...new Set((value ?? []).map((step) => step.ScheduledStationAETitle))].sort(compare);
  const shown = (value ?? []).filter(
    (step) => (!station || step.ScheduledStationAETitle === station) && (!state || step.state === state),
  );
  return (
    <div class="screen">
      <div class="top">
        <h1>{words.title}</h1>
        {may("admin") && (
          <Button icon="add" kind="main" onClick={() => setAdding(true)}>
            {words.add}
          </Button>
        )}
      </div>
      <DayBar date={date} onChange={(to) => set({ day: to })}>
        <Choice
          label={words.station}
          all={words.allStations}
          value={station}
          options={stations.map((name) => [name, name])}
          onChange={(to) => set({ station: to })}
        />
        <Choice
          label={words.state}
          all={words.allStates}
          value={state}
          options={Object.entries(words.states)}
          onChange={(to) => set({ state: to })}
        />
        <Button icon="again" kind="plain" isBare onClick={again}>
          {words.refresh}
        </Button>
      </DayBar>
      {problem && <Trouble problem={problem} onRetry={again} />}
      {!value && isLoading && <Loading />}
      {value && !shown.length && (
        <Empty icon="list" title={words.nothing}>
          <p>{words.nothingWords}</p>
        </Empty>
      )}
      {stations.map((name) => (
        <Station
          key={name}
          name={name}
          steps={shown.filter((step) => step.ScheduledStationAETitle === name)}
          onCancel={setCanceling}
        />
      ))}
      {isAdding && <AddDialog date={date} stations={stations} onClose={() => setAdding(false)} onAdded={again} />}
      {canceling && <CancelDialog step={canceling} onClose={() => setCanceling(null)} onCanceled={again} />}
    </div>
  );
}

function Station({ name, steps, onCancel }: { name: string; steps: Step[]; onCancel: (step: Step) => void }) {
  if (!steps.length) return null;
  const columns: Column<Step>[] = [
    { name: words.time, cell: (step) => clock(step.ScheduledProcedureStepStartTime) },
    { name: words.patient, cell: (step) => <Identity patient={patientOf(step)} /> },
    { name: words.procedure, cell: (step) => <Procedure step={step} /> },
    { name: words.accession, cell: (step) => <Value value={step.AccessionNumber} /> },
    {
      name: words.state,
      cell: (step) => (
        <span class={`badge ${KINDS[step.state] ?? ""}`}>
          {words.states[step.state] ?? <Value value={step.state} />}
        </span>
      ),
    },
    { name: words.actions, cell: (step) => <Doing step={step} onCancel={onCancel} /> },
  ];
  return (
    <section class="panel" aria-label={name}>
      <h2>
        <Value value={name} /> <span class="faint">{words.steps(number(steps.length), steps.length)}</span>
      </h2>
      <Table caption={name} columns={columns} rows={steps} keyOf={({ id }) => id} widths="steps" />
    </section>
  );
}

function Procedure({ step }: { step: Step }) {
  return (
    <>
      <span class="badge">
        <Value value={step.Modality} />
      </span>{" "}
      <Value value={step.ScheduledProcedureStepDescription || step.RequestedProcedureDescription} />
    </>
  );
}

/** What can be done about a step: its images once there may be some, to cancel it while it has not begun. */
function Doing({ step, onCancel }: { step: Step; onCancel: (step: Step) => void }) {
  if (step.state !== SCHEDULED) {
    return step.StudyInstanceUID ? (
      <ButtonLink icon="folder" href={link(["study", step.StudyInstanceUID])}>
        {words.study}
      </ButtonLink>
    ) : null;
  }
  if (!may("admin") || step.source) return null;
  return (
    <Button icon="close" onClick={() => onCancel(step)}>
      {words.cancel}
    </Button>
  );
}

/** Give the patient of a step as studies have theirs. */
export function patientOf(step: Step) {
  const [alphabetic = "", ideographic = "", phonetic = ""] = step.PatientName.split("=");
  return {
    name: { Alphabetic: alphabetic, Ideographic: ideographic, Phonetic: phonetic },
    id: step.PatientID,
    issuer: "",
    birthDate: step.PatientBirthDate,
    sex: step.PatientSex,
  };
}

interface DayBarProps {
  date: string;
  onChange: (date: string) => void;
  children: ComponentChildren;
}

function DayBar({ date, onChange, children }: DayBarProps) {
  const written = date.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3");
  return (
    <div class="day-bar">
      <Button icon="left" isBare onClick={() => onChange(shifted(date, -1))}>
        {words.dayBefore}
      </Button>
      <label>
        <span class="hidden">{words.day}</span>
        <input
          class="input"
          type="date"
          value={written}
          onChange={(event) => onChange(event.currentTarget.value.replaceAll("-", ""))}
        />
      </label>
      <Button icon="right" isBare onClick={() => onChange(shifted(date, 1))}>
        {words.dayAfter}
      </Button>
      <Button onClick={() => onChange("")} aria-pressed={date === dateOf()}>
        {words.today}
      </Button>
      <span class="hidden" role="status">
        {day(date)}
      </span>
      {children}
    </div>
  );
}

function shifted(date: string, days: number): string {
  const [year, month, of] = [date.slice(0, 4), date.slice(4, 6), date.slice(6, 8)].map(Number) as [
    number,
    number,
    number,
  ];
  return new Date(Date.UTC(year, month - 1, of + days)).toISOString().slice(0, 10).replaceAll("-", "");
}

interface ChoiceProps {
  label: string;
  all: string;
  value: string;
  options: [string, string][];
  onChange: (value: string) => void;
}

function Choice({ label, all, value, options, onChange }: ChoiceProps) {
  return (
    <label>
      <span class="hidden">{label}</span>
      <select class="input" value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">{all}</option>
        {options.map(([key, name]) => (
          <option value={key}>{name}</option>
        ))}
      </select>
    </label>
  );
}
