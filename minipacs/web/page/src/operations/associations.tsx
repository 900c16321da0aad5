import { useState } from "preact/hooks";

import type { Association, Context } from "../api/operations";
import { Button } from "../parts/button";
import { bytes, duration, number, shortMoment } from "../parts/format";
import { Empty } from "../parts/state";
import { Table } from "../parts/table";
import { Text, Value } from "../parts/text";
import { strings } from "../strings";
import { Pages } from "./pages";

const words = strings.operations.association;

const LOOK_MS = 10_000;

/** How an association ended, as a colour; what is in no list went wrong. */
const KINDS: Record<string, string> = { released: "good", rejected: "bad" };

/** Who called, what was accepted, and which setting would accept what was not. */
export function Associations() {
  const [isOnlyRefused, setOnlyRefused] = useState(false);
  return (
    <>
      <label class="check">
        <input
          type="checkbox"
          checked={isOnlyRefused}
          onChange={(event) => setOnlyRefused(event.currentTarget.checked)}
        />{" "}
        {words.onlyRefused}
      </label>
      <Pages<Association> what="associations" empty={words.none} emptyWords={words.noneWords} everyMs={LOOK_MS}>
        {(rows) => {
          const shown = rows.filter((row) => !isOnlyRefused || isRefused(row));
          if (!shown.length) return <Empty icon="pulse" title={words.noneRefused} />;
          return shown.map((row) => <Told key={row.association_id} association={row} />);
        }}
      </Pages>
    </>
  );
}

function isRefused({ outcome, contexts }: Association): boolean {
  return outcome === "rejected" || contexts.some(({ reason }) => reason);
}

function Told({ association }: { association: Association }) {
  const [isOpen, setOpen] = useState(false);
  const { contexts, outcome, began_at, calling, called, address } = association;
  const refused = contexts.filter(({ reason }) => reason);
  const accepted = contexts.filter(({ result }) => result === 0);
  return (
    <section class="panel association">
      <div class="head">
        <span class="faint">{shortMoment(began_at)}</span>
        <strong>
          <Value value={calling} short /> → <Value value={called} short />
        </strong>
        <span class="faint mono">{address}</span>
        <span class={`badge ${KINDS[outcome] ?? "warn"}`}>{words.outcomes[outcome] ?? outcome}</span>
        {contexts.length > 0 && (
          <span class={refused.length ? "warn" : "faint"}>{words.accepted(accepted.length, contexts.length)}</span>
        )}
        <Button kind="plain" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? words.less : words.more}
        </Button>
      </div>
      <Why reason={association.reason} remedy={association.remedy} />
      {isOpen && <Facts association={association} />}
      {isOpen && contexts.length > 0 && (
        <Contexts contexts={[...refused, ...contexts.filter(({ reason }) => !reason)]} />
      )}
    </section>
  );
}

/** Why something was refused, and what would let it in. */
function Why({ reason, remedy }: { reason: string | null; remedy: string | null }) {
  if (!reason && !remedy) return null;
  return (
    <div class="why">
      {reason && <Text value={reason} />}
      {remedy && (
        <div>
          <span class="faint">{words.remedy} </span>
          <Text value={remedy} />
        </div>
      )}
    </div>
  );
}

function Facts({ association }: { association: Association }) {
  const operations = Object.entries(association.operations).map(([name, count]) => `${number(count)} ${name}`);
  const facts: [string, string][] = [
    [words.peer, association.peer],
    [words.user, association.user],
    [words.implementation, association.implementation],
    [words.security, association.security || words.plain],
    [words.operations, operations.join(", ")],
    [words.received, bytes(association.received_bytes)],
    [words.sent, bytes(association.sent_bytes)],
    [words.duration, duration(association.duration_s)],
  ];
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>
              <Text value={value} />
            </dd>
          </>
        ))}
    </dl>
  );
}

function Contexts({ contexts }: { contexts: Context[] }) {
  return (
    <div class="scroll">
      <Table
        caption={words.contexts}
        rows={contexts}
        keyOf={(row) => row.context_id}
        columns={[
          { name: words.class, cell: (row) => <Text value={row.name} /> },
          {
            name: words.answer,
            cell: (row) => (
              <span class={`badge ${row.result === 0 ? "good" : row.reason ? "bad" : ""}`}>
                {row.result === 0 ? words.yes : row.reason ? words.no : words.unanswered}
              </span>
            ),
          },
          {
            name: words.transferSyntaxes,
            cell: (row) => (
              <span class="mono">{row.accepted_transfer_syntax ?? row.proposed_transfer_syntaxes.join(" ")}</span>
            ),
          },
          { name: words.why, cell: (row) => <Why reason={row.reason} remedy={row.remedy} /> },
        ]}
      />
    </div>
  );
}
