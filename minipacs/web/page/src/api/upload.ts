import { strings } from "../strings";
import { bad, good, PAGE_HEADERS, problemFrom, type Problem, type Result, sendJson } from "./client";
import type { DataSet, Element } from "./dicom";
import { changes } from "./studies";

/** A file on its way to the archive. */
export interface Part {
  /** "" where the file does not say. */
  sopInstanceUid: string;
  content: Blob;
}

/** What became of one file: stored, with its study, or why not; `null` where the answer does not tell it apart. */
export type Outcome = { isStored: true; study: string } | { isStored: false; words: string } | null;

const STORE = "dicom-web/studies";
const FAILED = "00081198";
const STORED = "00081199";
const OTHER_FAILURES = "0008119A";
const SOP_INSTANCE_UID = "00081155";
const RETRIEVE_URL = "00081190";
const REASON = "00081197";
const COMMENT = "00000902";

/** Ask which of these SOP Instance UIDs are in the archive, whole; 10000 at most. */
export async function whichAreHere(uids: string[]): Promise<Result<Set<string>>> {
  const answer = await sendJson<{ present: string[] }>("api/v1/presence", { instances: uids });
  return answer.ok ? good(new Set(answer.value.present)) : answer;
}

/** Store files in one request; `onProgress` hears how many bytes of its body have gone. */
export async function store(
  parts: Part[],
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Result<Outcome[]>> {
  const boundary = `minipacs-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  const head = `--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`;
  const body = new Blob([...parts.flatMap(({ content }) => [head, content, "\r\n"]), `--${boundary}--\r\n`]);
  const answer = await post(
    body,
    `multipart/related; type="application/dicom"; boundary=${boundary}`,
    onProgress,
    signal,
  );
  changes.count++;
  return answer.ok ? good(outcomes(parts, answer.value)) : answer;
}

/** Requests with progress are those of XMLHttpRequest: fetch tells none. */
function post(
  body: Blob,
  type: string,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Result<DataSet>> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const end = (result: Result<DataSet>) => {
      signal.removeEventListener("abort", stop);
      resolve(result);
    };
    request.open("POST", STORE);
    request.setRequestHeader("Content-Type", type);
    request.setRequestHeader("Accept", "application/dicom+json");
    for (const [name, value] of Object.entries(PAGE_HEADERS)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => end(read(request));
    request.onerror = () => end(bad(0, strings.api.unreachable));
    request.onabort = () => end(bad(0, "", { isAborted: true }));
    if (signal.aborted) return resolve(bad(0, "", { isAborted: true }));
    signal.addEventListener("abort", stop);
    request.send(body);
  });
}

/** An answer that tells of each object comes with any status (PS3.18 10.5.3); all else is of the request as a whole. */
function read(request: XMLHttpRequest): Result<DataSet> {
  const problem: Problem = problemFrom(request.status, request.responseText, (name) => request.getResponseHeader(name));
  try {
    const document = JSON.parse(request.responseText) as DataSet;
    const isReport = FAILED in document || STORED in document || OTHER_FAILURES in document;
    return isReport ? good(document) : { ok: false, problem };
  } catch {
    return { ok: false, problem };
  }
}

function outcomes(parts: Part[], report: DataSet): Outcome[] {
  const found = new Map<string, Outcome>();
  for (const item of items(report[STORED])) {
    const study = /\/studies\/([\d.]+)/.exec(value(item, RETRIEVE_URL))?.[1] ?? "";
    found.set(value(item, SOP_INSTANCE_UID), { isStored: true, study });
  }
  for (const item of items(report[FAILED])) found.set(value(item, SOP_INSTANCE_UID), refused(item));
  const others = items(report[OTHER_FAILURES]);
  if (parts.length === 1 && !found.size && others[0]) return [refused(others[0])];
  return parts.map(
    ({ sopInstanceUid }) =>
      found.get(sopInstanceUid) ?? (parts.length === 1 ? { isStored: false, words: strings.upload.unexplained } : null),
  );
}

function refused(item: DataSet): Outcome {
  const code = Number(value(item, REASON));
  return {
    isStored: false,
    words:
      value(item, COMMENT) || strings.upload.reasons[code] || strings.upload.reason(code.toString(16).toUpperCase()),
  };
}

function items(element: Element | undefined): DataSet[] {
  return (element?.Value ?? []) as DataSet[];
}

function value(item: DataSet, tag: string): string {
  return String(item[tag]?.Value?.[0] ?? "");
}
