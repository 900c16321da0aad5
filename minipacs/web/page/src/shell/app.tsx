import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";

import { may, readSession, session } from "../api/session";
import { Button, ButtonLink } from "../parts/button";
import { useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { Toasts } from "../parts/toast";
import { Operations } from "../operations/operations";
import { strings } from "../strings";
import { Studies } from "../studies/studies";
import { StudyPage } from "../studies/study-page";
import { Upload } from "../upload/upload";
import { Worklist } from "../worklist/worklist";
import { Header } from "./header";
import { Keys } from "./keys";
import { link, route, screen } from "./route";
import { SCREENS } from "./screens";
import { askUser, SignIn } from "./sign-in";
import { ViewerFrame } from "./viewer-frame";

const words = strings.shell;

const PLACES: Record<string, ComponentType> = {
  studies: Studies,
  study: Study,
  upload: Upload,
  worklist: Worklist,
  operations: Operations,
};

/** The whole page. */
export function App() {
  const asked = useLoaded(readSession, "session");
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        {words.skip}
      </a>
      <Header />
      <main id="content" tabIndex={-1}>
        {asked.problem && !session.value && <Trouble problem={asked.problem} onRetry={asked.again} />}
        {!session.value && !asked.problem && <Loading />}
        {session.value && <Place />}
      </main>
      <Toasts />
      <Keys />
      <SignIn />
    </>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

function Place() {
  const name = screen.value;
  const found = SCREENS.find(({ belongs }) => belongs.includes(name));
  const Part = PLACES[name];
  useEffect(() => {
    document.title = `${found ? words.screens[found.name] : words.unknown} · ${session.value?.ae_title ?? ""}`;
  }, [name]);
  if (!found || !Part) {
    return (
      <Empty icon="search" title={words.unknown} isAll>
        <ButtonLink href={link(["studies"])}>{words.toStudies}</ButtonLink>
      </Empty>
    );
  }
  if (!may(...found.rights)) return <Forbidden right={found.rights[0] ?? ""} />;
  return <Part />;
}

function Forbidden({ right }: { right: string }) {
  const now = session.value;
  if (now?.name)
    return (
      <Empty icon="person" title={words.forbidden} isAll>
        {words.forbiddenWords(right)}
      </Empty>
    );
  return (
    <Empty icon="person" title={strings.signIn.needed} isAll>
      <p>{strings.signIn.welcome(now?.ae_title ?? "")}</p>
      {now?.can_sign_in ? (
        <Button kind="main" onClick={() => void askUser()}>
          {strings.signIn.title}
        </Button>
      ) : (
        <p>{strings.signIn.noUsers}</p>
      )}
    </Empty>
  );
}

/** `#/study/UID`, and `#/study/UID/view` with a series and an instance behind it. */
function Study() {
  const [, study = "", view, series, instance] = route.value.path;
  if (view === "view") return <ViewerFrame study={study} series={series} instance={instance} />;
  return <StudyPage study={study} />;
}
