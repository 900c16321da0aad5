import type { Patient } from "../api/studies";
import { day } from "../parts/format";
import { Person, Value } from "../parts/text";
import { strings } from "../strings";

const words = strings.studies;

/** Who a study is of: name, birth date and ID, always together; `short` for lists, where all of it stands elsewhere. */
export function Identity({ patient, short = false }: { patient: Patient; short?: boolean }) {
  return (
    <div class="identity">
      <div class="name">
        <Person name={patient.name} short={short} />
      </div>
      <div class="faint">
        {words.id} <Value value={patient.id} short={short} />
        {patient.issuer && !short && (
          <>
            {" ("}
            <Value value={patient.issuer} />)
          </>
        )}
        {" · "}
        {patient.birthDate ? (short ? day : bornOn)(patient.birthDate) : words.noBirthDate}
        {patient.sex && (
          <>
            {" · "}
            {(!short && words.sexes[patient.sex]) || <Value value={patient.sex} short />}
          </>
        )}
      </div>
    </div>
  );
}

function bornOn(date: string): string {
  return words.born(day(date));
}
