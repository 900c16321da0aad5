import { useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { change, type Commitment, type Queued, readCommitments } from "../api/operations";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { ago, number, shortMoment } from "../parts/format";
import { readSends, type Send } from "../api/sends";
import { type Loaded, useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { type Column, Table } from "../parts/table";
import { Text, Value } from "../parts/text";
import { tell, tellProblem } from "../parts/toast";
import { link } from "../shell/route";
import { strings } from "../strings";
import { Pages } from "./pages";

const words = strings.operations.queued;

const LOOK_MS = 5_000;
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
  const commitments = useLoaded(readCommitments, "commitments", LOOK_MS);
  const sends = useLoaded(readSends, "sends", LOOK_MS);
  return (
    <>
      <Deliveries />
      <Part
        title={words.commitments}
        none={words.noCommitments}
        loaded={commitments}
        columns={commitmentColumns(commitments.again)}
      />
      <Part title={words.sends} none={words.noSends} loaded={sends} columns={SEND_COLUMNS} />
    </>
  );
}

/** What routes have to send, and what they gave up. */
function Deliveries() {
  const [isDeadOnly, setDeadOnly] = useState(false);
  const [dropping, setDropping] = useState<{ item: Queued; again: () => void } | null>(null);
  const choices: [string, boolean][] = [
    [words.all, false],
    [words.dead, true],
  ];
  return (
    <section class="panel" aria-label={words.queue}>
      <div class="titled">
        <h2>{words.queue}</h2>
        <div class="places" role="group" aria-label={words.which}>
          {choices.map(([name, isDead]) => (
            <button
              type="button"
              class="button"
              aria-pressed={isDead === isDeadOnly}
              onClick={() => setDeadOnly(isDead)}
            >
              {name}
            </button>
          ))}
        </div>
      </div>
      <Pages<Queued>
        key={String(isDeadOnly)}
        what="queue"
        keys={{ queue: "routes,webhooks", ...(isDeadOnly && { state: "dead" }) }}
        empty={isDeadOnly ? words.noneDead : words.none}
        emptyWords={isDeadOnly ? "" : words.noneWords}
        everyMs={LOOK_MS}
      >
        {(rows, again) => (
          <Table
            caption={words.queue}
            rows={rows}
            keyOf={({ id }) => id}
            columns={queueColumns(again, (item) => setDropping({ item, again }))}
          />
        )}
      </Pages>
      {dropping && <Drop item={dropping.item} onClose={() => setDropping(null)} onDropped={dropping.again} />}
    </section>
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
      cell: (row) => (
        <>
          <span class={`badge ${KINDS[row.state] ?? ""}`}>{words.states[row.state] ?? row.state}</span>
          {row.next_at && row.attempts > 0 && <div class="faint">{words.nextTry(ago(row.next_at))}</div>}
        </>
      ),
    },
    { name: words.attempts, cell: (row) => number(row.attempts), isNumber: true },
    { name: words.fault, cell: (row) => row.words && <Text value={row.words} /> },
  ];
}

/** The title of a peer, which stays on one line, or the address that events are told to. */
function To({ item }: { item: Queued }) {
  return (
    <span class={item.study ? "short" : ""}>
      <Value value={item.peer} />
    </span>
  );
}

/** What goes, as a link to the study that it is of; events are of none. */
function What({ item }: { item: Queued }) {
  if (!item.study) return <>{words.events}</>;
  const level = item.instance ? "instance" : item.series ? "series" : "study";
  const isPart = item.only > 0 && level !== "instance";
  return <a href={link(["study", item.study])}>{isPart ? words.some(item.only, level) : words.level[level]}</a>;
}

function queueColumns(again: () => void, drop: (item: Queued) => void): Column<Queued>[] {
  return [
    { name: words.since, cell: (row) => shortMoment(row.since), isShort: true },
    { name: words.route, cell: (row) => <Value value={row.route || row.queue} />, isShort: true },
    { name: words.peer, cell: (row) => <To item={row} /> },
    { name: words.what, cell: (row) => <What item={row} />, isShort: true },
    ...commonColumns<Queued>(),
    {
      name: words.actions,
      isShort: true,
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
    { name: words.asked, cell: (row) => shortMoment(row.asked_at), isShort: true },
    { name: words.source, cell: (row) => <Value value={row.source} />, isShort: true },
    { name: words.objects, cell: (row) => number(row.objects), isNumber: true },
    ...commonColumns<Commitment>(),
    {
      name: words.actions,
      cell: (row) => row.state === "given up" && <Retry what="commitments" id={row.id} onDone={again} />,
    },
  ];
}

const SEND_COLUMNS: Column<Send>[] = [
  { name: words.asked, cell: (row) => shortMoment(row.at), isShort: true },
  { name: words.peer, cell: (row) => <Value value={row.peer} />, isShort: true },
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
    if (answer.ok) tell(words.retried);
    else tellProblem(answer.problem);
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
      <dl class="facts">
        <dt>{words.route}</dt>
        <dd>
          <Value value={item.route || item.queue} />
        </dd>
        <dt>{words.peer}</dt>
        <dd>
          <Value value={item.peer} />
        </dd>
        <dt>{words.what}</dt>
        <dd>
          <What item={item} />
        </dd>
      </dl>
      <p>{words.dropWords}</p>
      {problem && <Trouble problem={problem} />}
    </Dialog>
  );
}
