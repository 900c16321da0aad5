import { ask, askJson, json, sendJson, type Result } from "./client";

/** Where objects can be sent to. */
export interface Peer {
  title: string;
  kind: string;
}

export interface Send {
  id: string;
  peer: string;
  study: string;
  series?: string;
  at: string;
  state: "waiting" | "sending" | "done" | "failed";
  total: number;
  completed: number;
  warned: number;
  failed: number;
  words: string;
}

export function readPeers(signal: AbortSignal): Promise<Result<Peer[]>> {
  return askJson("api/v1/peers", { signal });
}

export function send(peer: string, study: string, series?: string): Promise<Result<Send>> {
  return sendJson("api/v1/sends", { peer, study, ...(series && { series }) });
}

export function readSends(signal: AbortSignal): Promise<Result<Send[]>> {
  return askJson("api/v1/sends", { signal });
}

export function readSend(id: string): Promise<Result<Send>> {
  return askJson(`api/v1/sends/${encodeURIComponent(id)}`);
}

export async function callOff(id: string): Promise<Result<null>> {
  const answer = await ask(`api/v1/sends/${encodeURIComponent(id)}`, { method: "DELETE" });
  return answer.ok ? json(answer.value) : answer;
}
