import { number } from "./parts/format";

const of = (count: number, one: string, many: string) => `${number(count)} ${count === 1 ? one : many}`;

/** All words of the page, by screen. */
export const strings = {
  api: {
    unreachable: "The archive does not answer. Is it running, and is the network there?",
    broken: "The archive's answer could not be read.",
    status: (status: number) => `The archive answered with ${status}.`,
  },
  parts: {
    none: "none",
    noName: "no name",
    loading: "Loading…",
    retry: "Try again",
    dismiss: "Dismiss",
    cancel: "Cancel",
    close: "Close",
    logId: (id: string) => `id in the log: ${id}`,
  },
  shell: {
    skip: "Skip to the content",
    nav: "Screens",
    screens: { studies: "Studies", upload: "Upload", worklist: "Worklist", operations: "Operations" },
    unknown: "There is no such page",
    toStudies: "Go to the studies",
    forbidden: "You may not see this",
    forbiddenWords: (right: string) => `This needs the right “${right}”. Who administers the archive can give it to you.`,
    theme: "Theme",
    themes: { system: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" },
    keys: "Keys",
    uploading: (share: string) => `Uploading ${share}`,
    viewerMissing: "This page was built without its viewer.",
  },
  keys: {
    title: "Keys",
    rows: [
      ["?", "this list"],
      ["/", "search"],
      ["g then s, u, w, o", "go to studies, upload, worklist, operations"],
      ["↑ ↓ Page Up, Page Down, Home, End", "move in a list"],
      ["Enter", "show details of a study; again: look at its images"],
      ["v", "look at the images of the chosen study"],
      ["Esc", "close what is open"],
    ] as [string, string][],
  },
  signIn: {
    title: "Sign in",
    again: "Your session has ended. Sign in to go on; nothing is lost.",
    name: "Name",
    passcode: "Passcode",
    submit: "Sign in",
    out: "Sign out",
    signedInAs: (name: string) => `Signed in as ${name}`,
    needed: "Sign in to see what is here",
    welcome: (title: string) => `This is the archive ${title}.`,
    noUsers: "No right is given to those without credentials, and there is no user yet: “minipacs passwd NAME --allow read” makes one.",
  },
  viewer: {},
};

export { of };
