import { strings } from "../strings";

/** What went wrong with a request: the server's own words, and the id under which its log tells the rest. */
export interface Problem {
  /** Of HTTP; 0 where no answer came. */
  status: number;
  words: string;
  id: string;
  /** That the caller itself called the request off. */
  isAborted: boolean;
  /** In seconds, where the archive asks to wait. */
  retryAfter: number | null;
  /** The whole body, where it was JSON. */
  document?: unknown;
}

export type Result<T> = { ok: true; value: T } | { ok: false; problem: Problem };

/** Answers may say that later may help: the archive is full, busy or just being restarted. */
const PASSING = new Set([0, 408, 429, 502, 503, 504, 507]);

const UNAUTHORIZED = 401;

/** Marks requests of the page, so that a 401 opens no dialog of the browser. */
export const PAGE_HEADERS = { "X-Minipacs-Page": "1" };

type SignIn = () => Promise<boolean>;

let signInAgain: SignIn = () => Promise.resolve(false);

/** Set what asks the user to sign in; it resolves to whether a request may be tried again. */
export function onUnauthorized(ask: SignIn): void {
  signInAgain = ask;
}

/** Ask the user to sign in, for requests that do not go through `ask`. */
export function askToSignIn(): Promise<boolean> {
  return signInAgain();
}

export function isPassing(problem: Problem): boolean {
  return PASSING.has(problem.status);
}

export function good<T>(value: T): Result<T> {
  return { ok: true, value };
}

export function bad<T>(status: number, words: string, more: Partial<Problem> = {}): Result<T> {
  return { ok: false, problem: { status, words, id: "", isAborted: false, retryAfter: null, ...more } };
}

/** Send a request to a path of the archive, relative to the page; asks to sign in where that is what is missing. */
export async function ask(path: string, init: RequestInit = {}): Promise<Result<Response>> {
  for (;;) {
    const answer = await once(path, init);
    if (answer.ok || answer.problem.status !== UNAUTHORIZED || !(await signInAgain())) return answer;
  }
}

/** Send a request, as `ask` does, but take a 401 for an answer. */
export async function once(path: string, init: RequestInit = {}): Promise<Result<Response>> {
  const headers = { ...PAGE_HEADERS, ...(init.headers as Record<string, string> | undefined) };
  try {
    const response = await fetch(path, { ...init, headers, credentials: "same-origin" });
    return response.ok ? good(response) : { ok: false, problem: await problemOf(response) };
  } catch (error) {
    const isAborted = error instanceof DOMException && error.name === "AbortError";
    return bad(0, isAborted ? "" : strings.api.unreachable, { isAborted });
  }
}

/** Ask for a JSON document; an empty answer is `null`. */
export async function askJson<T>(path: string, init: RequestInit = {}): Promise<Result<T>> {
  const answer = await ask(path, { ...init, headers: { Accept: "application/json", ...(init.headers as object) } });
  return answer.ok ? json<T>(answer.value) : answer;
}

/** Read an answer as JSON. */
export async function json<T>(response: Response): Promise<Result<T>> {
  try {
    const text = await response.text();
    return good((text === "" ? null : JSON.parse(text)) as T);
  } catch {
    return bad(0, strings.api.broken, { id: response.headers.get("X-Request-Id") ?? "" });
  }
}

/** Send a JSON document, and read the answer's. */
export function sendJson<T>(path: string, document: unknown, method = "POST"): Promise<Result<T>> {
  return askJson<T>(path, { method, body: JSON.stringify(document), headers: { "Content-Type": "application/json" } });
}

/** Read an error document of the archive, or make one of a bare status. */
export function problemFrom(status: number, body: string, header: (name: string) => string | null): Problem {
  let words = "";
  let id = header("X-Request-Id") ?? "";
  let document: unknown;
  try {
    const told = (document = JSON.parse(body) as unknown) as { details?: unknown; id?: unknown };
    words = typeof told.details === "string" ? told.details : "";
    id = typeof told.id === "string" ? told.id : id;
  } catch {
    // A proxy answers in HTML of its own.
  }
  const wait = Number(header("Retry-After"));
  const retryAfter = wait > 0 ? wait : null;
  return { status, words: words || strings.api.status(status), id, isAborted: false, retryAfter, document };
}

async function problemOf(response: Response): Promise<Problem> {
  const body = await response.text().catch(() => "");
  return problemFrom(response.status, body, (name) => response.headers.get(name));
}

type Parameter = string | number | boolean | string[] | undefined;

/** Write parameters. A bare comma stands between values of a list, so one within a value is escaped. */
export function query(parameters: Record<string, Parameter>): string {
  const pairs = Object.entries(parameters).map(([name, value]) => [name, [value ?? ""].flat().map(written).join(",")]);
  return pairs
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

function written(value: string | number | boolean): string {
  return encodeURIComponent(String(value));
}
