import { ask, askJson, bad, good, json, query, type Result } from "./client";
import { type DataSet, type PersonName, count, person, text, values } from "./dicom";

const ROOT = "dicom-web/studies";

/** A study as the list has it. */
export interface Study {
  uid: string;
  patient: Patient;
  date: string;
  time: string;
  accession: string;
  modalities: string[];
  description: string;
  referrer: PersonName;
  studyId: string;
  institution: string;
  seriesCount: number;
  imageCount: number;
  /** Not all of it can be read: a file is missing or damaged. */
  isDamaged: boolean;
}

export interface Patient {
  name: PersonName;
  id: string;
  issuer: string;
  birthDate: string;
  sex: string;
}

export interface Series {
  uid: string;
  number: string;
  modality: string;
  description: string;
  bodyPart: string;
  date: string;
  imageCount: number;
  isDamaged: boolean;
}

/** What a removal would take. */
export interface Removal {
  patients: { name: string; id: string; issuer: string; birth_date: string }[];
  studies: string[];
  series: number;
  instances: number;
  bytes: number;
  /** Why it is refused, if somebody holds any of it. */
  held: string[];
}

/** Matching keys of a search, by keyword. */
export type Keys = Record<string, string | string[]>;

/** Counts what this page has changed of the archive: what was read before is old then. */
export const changes = { count: 0 };

const STUDY_FIELDS = ["InstitutionName", "IssuerOfPatientID"];
const SERIES_FIELDS = ["BodyPartExamined", "SeriesDate"];
const SERIES_ORDER = ["SeriesNumber", "SeriesInstanceUID"];

/** Find studies, newest first unless `order` says otherwise. */
export async function findStudies(
  keys: Keys,
  order: string[],
  offset: number,
  limit: number,
  signal?: AbortSignal,
): Promise<Result<Study[]>> {
  const asked = query({ ...keys, orderby: order, offset, limit, includefield: STUDY_FIELDS });
  const answer = await askJson<DataSet[]>(`${ROOT}?${asked}`, signal ? { signal } : {});
  return answer.ok ? good((answer.value ?? []).map(studyOf)) : answer;
}

export async function countStudies(keys: Keys, signal?: AbortSignal): Promise<Result<number>> {
  const answer = await askJson<{ count: number }>(`${ROOT}/count?${query(keys)}`, signal ? { signal } : {});
  return answer.ok ? good(answer.value.count) : answer;
}

/** Find a study by its UID: one for each patient that it is stored under. */
export function readStudy(uid: string, signal: AbortSignal): Promise<Result<Study[]>> {
  return findStudies({ StudyInstanceUID: uid }, [], 0, 10, signal);
}

/** Find the series of a study, by their numbers. */
export async function readSeries(study: string, signal: AbortSignal): Promise<Result<Series[]>> {
  const asked = query({ includefield: SERIES_FIELDS, orderby: SERIES_ORDER });
  const answer = await askJson<DataSet[]>(`${ROOT}/${study}/series?${asked}`, { signal });
  return answer.ok ? good((answer.value ?? []).map(seriesOf)) : answer;
}

/** Modalities of objects that are no pictures; they are not asked for one. */
export const WITHOUT_PICTURE: ReadonlySet<string> = new Set([
  "SR",
  "DOC",
  "ECG",
  "HD",
  "EPS",
  "RTSTRUCT",
  "RTPLAN",
  "RTRECORD",
  "PR",
  "KO",
  "REG",
  "AU",
  "PLAN",
  "RWV",
  "FID",
]);

/** Fetch the small picture of a series. */
export async function readThumbnail(study: string, series: string, signal: AbortSignal): Promise<Result<Blob>> {
  const path = `${ROOT}/${study}/series/${series}/thumbnail?viewport=160,160`;
  const answer = await ask(path, { signal, headers: { Accept: "image/jpeg, image/png;q=0.9" } });
  if (!answer.ok) return answer;
  try {
    return good(await answer.value.blob());
  } catch {
    return bad(0, "", { isAborted: signal.aborted }); // called off, or cut short, while it came
  }
}

/** Have the browser save a zip; asked for first is whether we may, for a browser would save a refusal as a file. */
export async function saveZip(study: string, series?: string): Promise<Result<null>> {
  const answer = await countStudies({ StudyInstanceUID: study });
  if (!answer.ok) return answer;
  const anchor = document.createElement("a");
  anchor.href = zipAddress(study, series);
  anchor.download = "";
  anchor.click();
  return good(null);
}

/** Where a study, or a series of it, is downloaded as files with a DICOMDIR. */
export function zipAddress(study: string, series?: string): string {
  return `${pathOf(study, series)}?accept=application/zip&dicomdir=true`;
}

export function readRemoval(study: string, series: string | undefined, signal: AbortSignal): Promise<Result<Removal>> {
  return askJson(`api/v1/removal?${query({ study, series })}`, { signal });
}

export async function removeStudy(study: string, series?: string): Promise<Result<null>> {
  const answer = await ask(pathOf(study, series), { method: "DELETE" });
  changes.count++;
  return answer.ok ? json(answer.value) : answer;
}

function pathOf(study: string, series?: string): string {
  return series ? `${ROOT}/${study}/series/${series}` : `${ROOT}/${study}`;
}

function studyOf(found: DataSet): Study {
  return {
    uid: text(found, "StudyInstanceUID"),
    patient: {
      name: person(found, "PatientName"),
      id: text(found, "PatientID"),
      issuer: text(found, "IssuerOfPatientID"),
      birthDate: text(found, "PatientBirthDate"),
      sex: text(found, "PatientSex"),
    },
    date: text(found, "StudyDate"),
    time: text(found, "StudyTime"),
    accession: text(found, "AccessionNumber"),
    modalities: values(found, "ModalitiesInStudy"),
    description: text(found, "StudyDescription"),
    referrer: person(found, "ReferringPhysicianName"),
    studyId: text(found, "StudyID"),
    institution: text(found, "InstitutionName"),
    seriesCount: count(found, "NumberOfStudyRelatedSeries"),
    imageCount: count(found, "NumberOfStudyRelatedInstances"),
    isDamaged: isDamaged(found),
  };
}

function seriesOf(found: DataSet): Series {
  return {
    uid: text(found, "SeriesInstanceUID"),
    number: text(found, "SeriesNumber"),
    modality: text(found, "Modality"),
    description: text(found, "SeriesDescription"),
    bodyPart: text(found, "BodyPartExamined"),
    date: text(found, "PerformedProcedureStepStartDate"),
    imageCount: count(found, "NumberOfSeriesRelatedInstances"),
    isDamaged: isDamaged(found),
  };
}

function isDamaged(found: DataSet): boolean {
  return text(found, "InstanceAvailability") === "UNAVAILABLE";
}
