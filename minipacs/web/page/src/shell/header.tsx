import { may, session, signOut } from "../api/session";
import { Button } from "../parts/button";
import { Icon } from "../parts/icons";
import { Text } from "../parts/text";
import { tellProblem } from "../parts/toast";
import { strings } from "../strings";
import { uploadShare } from "../upload/queue";
import { areKeysShown } from "./keyboard";
import { link, screen } from "./route";
import { SCREENS } from "./screens";
import { askUser } from "./sign-in";
import { THEMES, theme } from "./theme";

const words = strings.shell;

/** The line at the top: the archive, the screens that the user may see, who it is. */
export function Header() {
  return (
    <header class="header">
      <a class="brand" href={link(["studies"])}>
        <Mark />
        <span class="brand-name">
          <Text value={session.value?.ae_title || "minipacs"} short />
        </span>
      </a>
      <nav aria-label={words.nav}>
        {SCREENS.filter(({ rights }) => may(...rights)).map(({ name, icon, belongs }) => (
          <a href={link([name])} aria-current={belongs.includes(screen.value) ? "page" : undefined}>
            <Icon name={icon} />
            <span class="nav-name">{words.screens[name]}</span>
          </a>
        ))}
      </nav>
      <Uploading />
      <div class="ends">
        <ThemeSwitch />
        <Button icon="keys" kind="plain" isBare onClick={() => (areKeysShown.value = true)}>
          {words.keys}
        </Button>
        <Who />
      </div>
    </header>
  );
}

function Mark() {
  return (
    <svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true">
      <rect x="1" y="1" width="20" height="20" rx="5" fill="var(--accent)" />
      <path
        d="M6 16V8.5l5 4 5-4V16M6 6h10"
        fill="none"
        stroke="var(--on-accent)"
        stroke-width="2"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}

function Uploading() {
  const share = uploadShare.value;
  if (share === null || screen.value === "upload") return null;
  return (
    <a class="uploading" href={link(["upload"])}>
      {words.uploading(share)}
    </a>
  );
}

function ThemeSwitch() {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
  return (
    <Button icon={theme.value} kind="plain" isBare onClick={() => (theme.value = next)}>
      {words.themes[theme.value]}
    </Button>
  );
}

/** Sign out, and forget all that this page has read: the next one at it may be somebody else. */
async function leave(): Promise<void> {
  const answer = await signOut();
  if (answer.ok) location.reload();
  else tellProblem(answer.problem);
}

function Who() {
  const now = session.value;
  if (now?.name) {
    return (
      <>
        <span class="who">
          <Icon name="person" />
          <span class="hidden">{strings.signIn.signedInAs("")}</span>
          <Text value={now.name} short />
        </span>
        <Button onClick={() => void leave()}>{strings.signIn.out}</Button>
      </>
    );
  }
  if (!now?.can_sign_in) return null;
  return (
    <Button icon="person" onClick={() => void askUser()}>
      {strings.signIn.title}
    </Button>
  );
}
