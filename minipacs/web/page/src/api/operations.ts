import { ask, askJson, good, json, query, type Result } from "./client";

/** How much the archive holds, and what waits for somebody. */
export interface Statistics {
  patients: number;
  studies: number;
  series: number;
  instances: number;
  stored_bytes: number;
  by_modality: Record<string, number>;
  storage_free_bytes: number;
  index_free_bytes: number;
  quarantined_files: number;
  unavailable_instances: number;
  worklist_broken_files: number;
  conflicts: number;
  commitments_pending: number;
  commitments_given_up: number;
  deliveries_given_up: number;
}

export interface Check {
  severity: "ok" | "warn" | "fault";
  what: string;
  detail: string;
}

export interface Health {
  status: "ok" | "failing";
  reason: string | null;
  version: string;
  verify: { at: string; findings: number } | null;
  checks: Check[];
}

/** What came on one day. */
export interface Day {
  day: string;
  instances: number;
  bytes: number;
}

export interface Context {
  context_id: number;
  abstract_syntax: string;
  name: string;
  proposed_transfer_syntaxes: string[];
  result: number | null;
  accepted_transfer_syntax: string | null;
  reason: string | null;
  remedy: string | null;
}

export interface Association {
  association_id: string;
  address: string;
  calling: string;
  called: string;
  peer: string;
  implementation: string;
  contexts: Context[];
  operations: Record<string, number>;
  received_bytes: number;
  sent_bytes: number;
  outcome: string;
  reason: string;
  remedy: string;
  security: string;
  user: string;
  began_at: string;
  duration_s: number;
}

export interface Quarantined {
  digest: string;
  since: string;
  size_bytes: number;
  reason: string;
}

export interface Conflict {
  level: string;
  attribute: string;
  patient_id: string;
  issuer_of_patient_id: string;
  study_instance_uid: string;
  series_instance_uid: string;
  found_at: string;
  remedy: string;
  values: { value: string; count: number; uids: string[] }[];
}

/** What a route has to send: a study, a series or one instance, or `only` so many of it; of other queues: events. */
export interface Queued {
  id: number;
  queue: string;
  route: string;
  peer: string;
  study: string;
  series: string;
  instance: string;
  only: number;
  state: "waiting" | "sending" | "held" | "dead";
  since: string;
  next_at: string;
  attempts: number;
  words: string;
}

export interface Commitment {
  id: number;
  transaction: string;
  source: string;
  objects: number;
  state: "asked" | "waiting" | "answered" | "given up";
  asked_at: string;
  next_at: string;
  attempts: number;
  words: string;
}

const GROWTH_DAYS = 30;
const DAY_MS = 86_400_000;
export const PAGE_ROWS = 100;

type Read<T> = (signal: AbortSignal) => Promise<Result<T>>;

export const readStatistics: Read<Statistics> = (signal) => askJson("api/v1/statistics", { signal });
export const readCommitments: Read<Commitment[]> = (signal) => askJson("api/v1/commitments", { signal });

/** Read what came on each of the last days; the archive tells of those on which anything did. */
export const readGrowth: Read<Day[]> = async (signal) => {
  const answer = await askJson<Day[]>(`api/v1/growth?${query({ days: GROWTH_DAYS })}`, { signal });
  if (!answer.ok) return answer;
  const told = new Map(answer.value.map((one) => [one.day, one]));
  const last = Date.now();
  const days = Array.from({ length: GROWTH_DAYS }, (_, i) =>
    new Date(last - (GROWTH_DAYS - 1 - i) * DAY_MS).toISOString().slice(0, 10),
  );
  return good(days.map((day) => told.get(day) ?? { day, instances: 0, bytes: 0 }));
};

/** Read the state of health; 503 is the answer that it is not good. */
export async function readHealth(signal: AbortSignal): Promise<Result<Health>> {
  const answer = await askJson<Health>("api/v1/health", { signal });
  if (answer.ok || !isHealth(answer.problem.document)) return answer;
  return good(answer.problem.document);
}

function isHealth(document: unknown): document is Health {
  return typeof document === "object" && document !== null && "version" in document;
}

/** What there are pages of, each with the keys that choose among its rows. */
export type Listed = "associations" | "quarantine" | "conflicts" | "queue";

/** Read a page of rows, the first of which is row `offset`. */
export function readRows<T>(
  what: Listed,
  keys: Record<string, string>,
  offset: number,
  signal: AbortSignal,
): Promise<Result<T[]>> {
  return askJson(`api/v1/${what}?${query({ ...keys, limit: PAGE_ROWS, offset })}`, { signal });
}

/** Do something about what waits: try it again, or give it up. */
export async function change(
  what: "queue" | "commitments",
  id: number,
  method: "POST" | "DELETE",
): Promise<Result<null>> {
  const answer = await ask(`api/v1/${what}/${id}${method === "POST" ? "/retry" : ""}`, { method });
  return answer.ok ? json(answer.value) : answer;
}
