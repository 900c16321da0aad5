import { person } from "../../api/dicom";
import { ButtonLink } from "../../parts/button";
import { day } from "../../parts/format";
import { Person, Text, Value } from "../../parts/text";
import { link } from "../../shell/route";
import { strings } from "../../strings";
import { type DataSet, text } from "../dicom/json";
import { TAG } from "../dicom/tags";
import { active, studies, visible } from "../store";

const words = strings.viewer;

/** Whose picture it is: name, birth date and Patient ID together. */
export function Patient({ dataSet }: { dataSet: DataSet }) {
  const born = text(dataSet, TAG.PatientBirthDate);
  return (
    <>
      <strong>
        <Person name={person(dataSet, "PatientName")} short />
      </strong>
      <span>
        {words.born} <Value value={born && day(born)} short />
      </span>
      <span>
        ID <Value value={text(dataSet, TAG.PatientID)} short />
      </span>
    </>
  );
}

/** What tells one patient from another. */
export function patientKey(dataSet: DataSet): string {
  return [TAG.PatientID, TAG.PatientName, TAG.PatientBirthDate]
    .map((tag) => text(dataSet, tag).trim().toUpperCase())
    .join("\n");
}

/** The patient and the study of the part of the screen that is in use. */
export function Identity({ study }: { study: string }) {
  const shown = active.value.set.value?.instances[0] ?? studies.value[0]?.dataSet;
  return (
    <header class="viewer-identity">
      <ButtonLink href={link(["study", study])} icon="left" kind="plain" isBare>
        {words.back}
      </ButtonLink>
      {shown && (
        <>
          <h1 class="viewer-patient">
            <Patient dataSet={shown} />
          </h1>
          <span class="viewer-study">
            <Value value={day(text(shown, TAG.StudyDate))} short />{" "}
            <Text value={text(shown, TAG.StudyDescription)} short />
          </span>
        </>
      )}
    </header>
  );
}

/** Patients of what is shown, by their keys. */
function patients(): Set<string> {
  const shown = visible.value.map(({ set }) => set.value?.instances[0]).filter((dataSet) => dataSet !== undefined);
  return new Set(shown.map(patientKey));
}

/** That pictures of more than one patient stand beside each other. */
export function TwoPatients() {
  if (patients().size < 2) return null;
  return (
    <div class="viewer-warning" role="alert">
      {words.twoPatients}
    </div>
  );
}
