/** What the viewer asks of the archive: series, metadata, frames, bulk data (PS3.18 10.4, 10.6). */

import { ask, type Problem } from "../api/client";
import { NATIVE } from "./dicom/frame";
import { displaySets, type DisplaySet, type SeriesInfo } from "./dicom/sets";
import { type DataSet, fromBase64, number, text } from "./dicom/json";
import { TAG } from "./dicom/tags";

const JSON_TYPE = "application/dicom+json";

/** What the archive answered instead of what was asked, in its own words. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.words);
  }
}

/** Path of a DICOMweb resource, beside the page wherever a proxy puts it. */
export function address(path: string): string {
  return `dicom-web/${path}`;
}

async function get(path: string, accept: string): Promise<Response> {
  const answer = await ask(address(path), { headers: { Accept: accept } });
  if (!answer.ok) throw new Refused(answer.problem);
  return answer.value;
}

async function list(path: string): Promise<DataSet[]> {
  const response = await get(path, JSON_TYPE);
  return response.status === 204 ? [] : ((await response.json()) as DataSet[]);
}

/** Series of a study, in the order of their numbers. */
export async function findSeries(study: string): Promise<{ series: SeriesInfo[]; study: DataSet }> {
  const [found, studies] = await Promise.all([
    list(`studies/${study}/series?includefield=0008103E,00201209,00200011`),
    list(`studies?StudyInstanceUID=${study}&includefield=00081030`),
  ]);
  const series = found.map((dataSet) => ({
    study,
    uid: text(dataSet, TAG.SeriesInstanceUID),
    number: text(dataSet, TAG.SeriesNumber),
    modality: text(dataSet, TAG.Modality),
    description: text(dataSet, TAG.SeriesDescription),
    instances: number(dataSet, TAG.SeriesInstances) ?? 0,
  }));
  series.sort((a, b) => (Number(a.number) || 0) - (Number(b.number) || 0) || (a.uid < b.uid ? -1 : 1));
  return { series, study: studies[0] ?? {} };
}

/** Other studies under the same Patient ID, newest first. */
export async function findOthers(patientID: string, study: string): Promise<DataSet[]> {
  if (!patientID || /[*?\\]/.test(patientID)) return [];
  const found = await list(`studies?PatientID=${encodeURIComponent(patientID)}&includefield=00081030&limit=50`);
  return found.filter((dataSet) => text(dataSet, TAG.StudyInstanceUID) !== study);
}

/** What a series shows. */
export async function openSeries(series: SeriesInfo): Promise<DisplaySet[]> {
  return displaySets(series, await list(`studies/${series.study}/series/${series.uid}/metadata`));
}

/** A frame: its bytes, and the transfer syntax that they are in. */
export async function fetchFrame(path: string, transferSyntax: string) {
  const accept = `application/octet-stream; transfer-syntax=${transferSyntax}`;
  const response = await get(path, accept);
  const told = /transfer-syntax="?([0-9.]+)/.exec(response.headers.get("Content-Type") ?? "");
  return { bytes: await response.arrayBuffer(), transferSyntax: told?.[1] ?? NATIVE };
}

/** The bytes of an element, wherever they are. */
export async function bulk(dataSet: DataSet, tag: string): Promise<Uint8Array<ArrayBuffer>> {
  const element = dataSet[tag];
  if (element?.InlineBinary !== undefined) return fromBase64(element.InlineBinary);
  const place = element?.BulkDataURI?.indexOf("/studies/") ?? -1;
  if (!element?.BulkDataURI || place < 0) return new Uint8Array();
  const response = await get(element.BulkDataURI.slice(place + 1), "application/octet-stream");
  return new Uint8Array(await response.arrayBuffer());
}
