import { signal } from "@preact/signals";

import { askJson, json, once, type Result } from "./client";

export type Right = "read" | "store" | "delete" | "admin" | "worklist" | "mpps" | "commit" | "deidentified";

/** Who the archive takes us for, and what is there for us. */
export interface Session {
  /** "" for those without credentials. */
  name: string;
  rights: Right[];
  ae_title: string;
  version: string;
  ohif: boolean;
  can_sign_in: boolean;
}

const PATH = "api/v1/session";

export const session = signal<Session | null>(null);

/** Tell whether one of the rights is there. */
export function may(...rights: Right[]): boolean {
  return rights.some((right) => session.value?.rights.includes(right));
}

export async function readSession(): Promise<Result<Session>> {
  return kept(await askJson<Session>(PATH));
}

export async function signIn(name: string, passcode: string): Promise<Result<Session>> {
  const body = JSON.stringify({ name, passcode });
  const answer = await once(PATH, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  return kept(answer.ok ? await json<Session>(answer.value) : answer);
}

export async function signOut(): Promise<Result<Session>> {
  return kept(await askJson<Session>(PATH, { method: "DELETE" }));
}

function kept(answer: Result<Session>): Result<Session> {
  if (answer.ok) session.value = answer.value;
  return answer;
}
