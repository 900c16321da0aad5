import type { Quarantined } from "../api/operations";
import { bytes, shortMoment } from "../parts/format";
import { Table } from "../parts/table";
import { Text } from "../parts/text";
import { strings } from "../strings";
import { Pages } from "./pages";

const words = strings.operations.quarantined;

/** Files that were set aside, and why; nothing is ever taken from there but by command. */
export function Quarantine() {
  return (
    <>
      <p class="note">{words.intro}</p>
      <Pages<Quarantined> what="quarantine" empty={words.none} emptyWords={words.noneWords}>
        {(rows) => (
          <section class="panel">
            <Table
              caption={strings.operations.parts.quarantine}
              rows={rows}
              keyOf={(row) => row.digest}
              columns={[
                { name: words.since, cell: (row) => shortMoment(row.since), isShort: true },
                { name: words.reason, cell: (row) => <Text value={row.reason} /> },
                { name: words.size, cell: (row) => bytes(row.size_bytes), isNumber: true },
                { name: words.digest, cell: (row) => <span class="mono">{row.digest}</span> },
              ]}
            />
          </section>
        )}
      </Pages>
    </>
  );
}
