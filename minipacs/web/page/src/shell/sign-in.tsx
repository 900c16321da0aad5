import { signal } from "@preact/signals";
import { useRef, useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { session, signIn } from "../api/session";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { Trouble } from "../parts/state";
import { strings } from "../strings";

const words = strings.signIn;

/** Those who wait for the user to sign in. */
const waiting = signal<((isSignedIn: boolean) => void)[]>([]);

/** Ask the user to sign in; resolves when that is done, or called off. However many ask, it is one dialog. */
export function askUser(): Promise<boolean> {
  return new Promise((resolve) => {
    waiting.value = [...waiting.value, resolve];
  });
}

function settle(isSignedIn: boolean): void {
  const all = waiting.value;
  waiting.value = [];
  for (const resolve of all) resolve(isSignedIn);
}

/** The dialog, while anybody waits for it. */
export function SignIn() {
  if (!waiting.value.length) return null;
  return <SignInDialog />;
}

function SignInDialog() {
  const [name, setName] = useState(session.value?.name ?? "");
  const [passcode, setPasscode] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const before = useRef(session.value?.name ?? "").current;
  const submit = async () => {
    setBusy(true);
    const answer = await signIn(name, passcode);
    setBusy(false);
    if (!answer.ok) setProblem(answer.problem);
    // What another user has read and begun is not for this one.
    else if (before && before !== answer.value.name) location.reload();
    else settle(true);
  };
  const ends = (
    <>
      <Button onClick={() => settle(false)}>{strings.parts.cancel}</Button>
      <Button kind="main" type="submit" disabled={isBusy || !name}>
        {words.submit}
      </Button>
    </>
  );
  return (
    <Dialog title={words.title} onClose={() => settle(false)} onSubmit={() => void submit()} ends={ends}>
      {before && <p>{words.again}</p>}
      {problem && <Trouble problem={problem} />}
      <label class="field">
        <span>{words.name}</span>
        <input
          class="input"
          name="username"
          autocomplete="username"
          required
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>{words.passcode}</span>
        <input
          class="input"
          type="password"
          name="password"
          autocomplete="current-password"
          value={passcode}
          onInput={(event) => setPasscode(event.currentTarget.value)}
        />
      </label>
    </Dialog>
  );
}
