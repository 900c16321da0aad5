import { useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { change, type Commitment, type Queued, readCommitments, readQueue } from "../api/operations";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { ago, number, shortMoment } from "../parts/format";
import { readSends, type Send } from "../api/sends";
import { type Loaded, useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { type Column, Table } from "../parts/table";
import { Text, Value } from "../parts/text";
import { tellProblem } from "../parts/toast";
import { link } from "../shell/route";
import { strings } from "../strings";

const words = strings.operations.queued;

const LOOK_MS = 10_000;
const KINDS: Record<string, string> = {
  done: "good",
  failed: "bad",
  waiting: "",
  asked: "",
  sending: "warn",
  held: "warn",
  dead: "bad",
  "given up": "bad",
  answered: "good",
};

/** What is to be sent and is not there yet, what was given up, and storage commitments. */
export function Queue() {
  const queue = useLoaded(readQueue, "queue", LOOK_MS);
  const commitments = useLoaded(readCommitments, "commitments", LOOK_MS);
  const sends = useLoaded(readSends, "sends", LOOK_MS);
  const [dropping, setDropping] = useState<Queued | null>(null);
  return (
    <>
      <Part title={words.queue} none={words.none} loaded={queue} columns={queueColumns(queue.again, setDropping)} />
      <Part
        title={words.commitments}
        none={words.noCommitments}
        loaded={commitments}
        columns={commitmentColumns(commitments.again)}
      />
      <Part title={words.sends} none={words.noSends} loaded={sends} columns={SEND_COLUMNS} />
      {dropping && <Drop item={dropping} onClose={() => setDropping(null)} onDropped={queue.again} />}
    </>
  );
}

interface PartProps<T> {
  title: string;
  none: string;
  loaded: Loaded<T[]>;
  columns: Column<T>[];
}

function Part<T extends { id: number | string }>({ title, none, loaded, columns }: PartProps<T>) {
  const { value, problem, again } = loaded;
  return (
    <section class="panel" aria-label={title}>
      <h2>{title}</h2>
      {problem && <Trouble problem={problem} onRetry={again} />}
      {!value && !problem && <Loading />}
      {value?.length === 0 && <Empty icon="pulse" title={none} />}
      {value && value.length > 0 && <Table caption={title} rows={value} keyOf={({ id }) => id} columns={columns} />}
    </section>
  );
}

/** Wherever something waits: how it stands, when it goes on, what was wrong last. */
function commonColumns<T extends Queued | Commitment>(): Column<T>[] {
  return [
    {
      name: words.state,
      cell: (row) => <span class={`badge ${KINDS[row.state] ?? ""}`}>{words.states[row.state] ?? row.state}</span>,
    },
    { name: words.attempts, cell: (row) => number(row.attempts), isNumber: true },
    { name: words.next, cell: (row) => (row.next_at ? ago(row.next_at) : "") },
    { name: words.fault, cell: (row) => row.words && <Text value={row.words} /> },
  ];
}

function queueColumns(again: () => void, drop: (item: Queued) => void): Column<Queued>[] {
  return [
    { name: words.since, cell: (row) => shortMoment(row.since) },
    { name: words.route, cell: (row) => <Value value={row.route || row.queue} /> },
    { name: words.peer, cell: (row) => <Value value={row.peer} /> },
    ...commonColumns<Queued>(),
    {
      name: words.actions,
      cell: (row) => (
        <div class="actions">
          {row.state !== "sending" && <Retry what="queue" id={row.id} onDone={again} />}
          <Button icon="remove" kind="plain" isBare onClick={() => drop(row)}>
            {words.drop}
          </Button>
        </div>
      ),
    },
  ];
}

function commitmentColumns(again: () => void): Column<Commitment>[] {
  return [
    { name: words.asked, cell: (row) => shortMoment(row.asked_at) },
    { name: words.source, cell: (row) => <Value value={row.source} /> },
    { name: words.objects, cell: (row) => number(row.objects), isNumber: true },
    ...commonColumns<Commitment>(),
    {
      name: words.actions,
      cell: (row) => row.state === "given up" && <Retry what="commitments" id={row.id} onDone={again} />,
    },
  ];
}

const SEND_COLUMNS: Column<Send>[] = [
  { name: words.asked, cell: (row) => shortMoment(row.at) },
  { name: words.peer, cell: (row) => <Value value={row.peer} /> },
  { name: words.study, cell: (row) => <a href={link(["study", row.study])}>{words.show}</a> },
  {
    name: words.state,
    cell: (row) => (
      <span class={`badge ${KINDS[row.failed ? "failed" : row.state] ?? ""}`}>
        {strings.studies.sending.states[row.state]}
      </span>
    ),
  },
  {
    name: words.objects,
    cell: (row) => strings.studies.sending.counts(row.completed + row.warned, row.total, row.failed),
  },
  { name: words.fault, cell: (row) => row.words && <Text value={row.words} /> },
];

function Retry({ what, id, onDone }: { what: "queue" | "commitments"; id: number; onDone: () => void }) {
  const retry = async () => {
    const answer = await change(what, id, "POST");
    if (!answer.ok) tellProblem(answer.problem);
    onDone();
  };
  return (
    <Button icon="again" onClick={() => void retry()}>
      {words.retry}
    </Button>
  );
}

function Drop({ item, onClose, onDropped }: { item: Queued; onClose: () => void; onDropped: () => void }) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const drop = async () => {
    const answer = await change("queue", item.id, "DELETE");
    if (!answer.ok) {
      setProblem(answer.problem);
      return;
    }
    onClose();
    onDropped();
  };
  const ends = (
    <>
      <Button onClick={onClose}>{strings.parts.cancel}</Button>
      <Button icon="remove" kind="danger main" type="submit">
        {words.dropSubmit}
      </Button>
    </>
  );
  return (
    <Dialog title={words.dropTitle} onClose={onClose} onSubmit={() => void drop()} ends={ends}>
      <p>
        {words.dropWords} <Value value={item.peer} />
      </p>
      {problem && <Trouble problem={problem} />}
    </Dialog>
  );
}
