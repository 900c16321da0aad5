import type { Conflict } from "../api/operations";
import { number, shortMoment } from "../parts/format";
import { Table } from "../parts/table";
import { Text, Value } from "../parts/text";
import { link } from "../shell/route";
import { strings } from "../strings";
import { Pages } from "./pages";

const words = strings.operations.conflict;

/** Patients and studies whose objects disagree, and what to do about it. */
export function Conflicts() {
  return (
    <Pages<Conflict> what="conflicts" empty={words.none} emptyWords={words.noneWords}>
      {(rows) => rows.map((row, i) => <Told key={i} conflict={row} />)}
    </Pages>
  );
}

function Told({ conflict }: { conflict: Conflict }) {
  const { attribute, patient_id, issuer_of_patient_id, study_instance_uid, series_instance_uid, remedy, found_at } =
    conflict;
  const subjects: [string, string][] = [
    [words.patientId, patient_id],
    [words.issuer, issuer_of_patient_id],
    [words.series, series_instance_uid],
  ];
  return (
    <section class="panel association">
      <div class="head">
        <strong>{words.attributes[attribute] ?? attribute}</strong>
        {subjects
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <span>
              <span class="faint">{name}</span> <Text value={value} short />
            </span>
          ))}
        {study_instance_uid && <a href={link(["study", study_instance_uid])}>{words.study}</a>}
        <span class="faint">{shortMoment(found_at)}</span>
      </div>
      <p class="why">{remedy}</p>
      <Table
        caption={attribute}
        rows={conflict.values}
        keyOf={(_row, i) => i}
        columns={[
          { name: words.value, cell: (row) => <Value value={row.value} /> },
          { name: words.objects, cell: (row) => number(row.count), isNumber: true },
          { name: words.where, cell: (row) => <span class="mono">{row.uids.join(" ")}</span> },
        ]}
      />
    </section>
  );
}
