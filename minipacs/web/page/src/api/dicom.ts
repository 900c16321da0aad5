/** The DICOM JSON Model (PS3.18 F), as far as the page reads it. */
export interface Element {
  vr: string;
  Value?: unknown[];
  BulkDataURI?: string;
  InlineBinary?: string;
}

export type DataSet = Record<string, Element | undefined>;

/** Groups of a person's name (PS3.5 6.2.1.2). */
export interface PersonName {
  Alphabetic?: string;
  Ideographic?: string;
  Phonetic?: string;
}

export const TAGS = {
  AccessionNumber: "00080050",
  InstanceAvailability: "00080056",
  Modality: "00080060",
  ModalitiesInStudy: "00080061",
  ReferringPhysicianName: "00080090",
  SeriesDescription: "0008103E",
  SOPClassUID: "00080016",
  SOPInstanceUID: "00080018",
  StudyDate: "00080020",
  StudyDescription: "00081030",
  StudyTime: "00080030",
  InstitutionName: "00080080",
  BodyPartExamined: "00180015",
  PatientName: "00100010",
  PatientID: "00100020",
  IssuerOfPatientID: "00100021",
  PatientBirthDate: "00100030",
  PatientSex: "00100040",
  StudyInstanceUID: "0020000D",
  SeriesInstanceUID: "0020000E",
  StudyID: "00200010",
  SeriesNumber: "00200011",
  InstanceNumber: "00200013",
  NumberOfFrames: "00280008",
  NumberOfStudyRelatedSeries: "00201206",
  NumberOfStudyRelatedInstances: "00201208",
  NumberOfSeriesRelatedInstances: "00201209",
  PerformedProcedureStepStartDate: "00400244",
} as const;

export type Keyword = keyof typeof TAGS;

/** Give the values of an attribute as text. */
export function values(dataSet: DataSet, keyword: Keyword): string[] {
  const found = dataSet[TAGS[keyword]]?.Value ?? [];
  return found.filter((value) => value !== null && typeof value !== "object").map(String);
}

/** Give the first value of an attribute, "" for none. */
export function text(dataSet: DataSet, keyword: Keyword): string {
  return values(dataSet, keyword)[0] ?? "";
}

/** Give the first value of an attribute as a number, 0 for none. */
export function count(dataSet: DataSet, keyword: Keyword): number {
  const found = Number(text(dataSet, keyword));
  return Number.isFinite(found) ? found : 0;
}

/** Give the first name of an attribute, with no groups for none. */
export function person(dataSet: DataSet, keyword: Keyword): PersonName {
  const found = dataSet[TAGS[keyword]]?.Value?.[0];
  return found !== null && typeof found === "object" ? (found as PersonName) : {};
}
