import { useEffect, useRef, useState } from "preact/hooks";

import { Button, ButtonLink } from "../parts/button";
import { bytes, duration, number } from "../parts/format";
import { Icon } from "../parts/icons";
import { Progress } from "../parts/progress";
import { link } from "../shell/route";
import { strings } from "../strings";
import { items, tally } from "./items";
import { ItemList } from "./item-list";
import {
  add,
  clear,
  finding,
  isPaused,
  isRunning,
  pause,
  resume,
  retryRefused,
  sendsAll,
  studies,
  trouble,
} from "./queue";
import { picked } from "./sources";
import { StopDialog } from "./stop-dialog";
import "./upload.css";

const words = strings.upload;

/** Brings files into the archive; the work itself goes on whatever screen is shown. */
export function Upload() {
  const hasItems = tally.value.total > 0 || finding.value > 0;
  return (
    <div class="screen upload">
      <div class="top">
        <h1>{words.title}</h1>
        <label class="check">
          <input
            type="checkbox"
            checked={sendsAll.value}
            onChange={(event) => (sendsAll.value = event.currentTarget.checked)}
          />{" "}
          {words.sendsAll}
        </label>
      </div>
      <DropZone isSmall={hasItems} />
      {hasItems && <Sum />}
      {hasItems && <ItemList />}
    </div>
  );
}

function DropZone({ isSmall }: { isSmall: boolean }) {
  const [isOver, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const pick = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    void add(picked([...(input.files ?? [])]));
    input.value = "";
  };
  return (
    <div
      class={`drop ${isSmall ? "small" : ""} ${isOver ? "over" : ""}`}
      onDragOver={() => setOver(true)}
      onDragLeave={() => setOver(false)}
      onDrop={() => setOver(false)}
    >
      <Icon name="upload" size={isSmall ? 20 : 36} />
      <p>{words.drop}</p>
      <div class="ends">
        <Button icon="folder" kind="main" onClick={() => folder.current?.click()}>
          {words.pickFolder}
        </Button>
        <Button icon="file" onClick={() => files.current?.click()}>
          {words.pickFiles}
        </Button>
      </div>
      <input ref={files} type="file" multiple hidden data-files onChange={pick} />
      <input ref={folder} type="file" {...{ webkitdirectory: true }} multiple hidden data-folder onChange={pick} />
    </div>
  );
}

/** How far all of it has come, and what can be done about it. */
function Sum() {
  const { count, total, done, bytes: size, bytesDone } = tally.value;
  const [isStopping, setStopping] = useState(false);
  return (
    <section class="panel sum" aria-label={words.progress}>
      <div class="line">
        <strong role="status">{isRunning.value ? (isPaused.value ? words.paused : words.running) : words.done}</strong>
        <span class="faint">
          {words.files(done, total)} · {bytes(bytesDone)} / {bytes(size)}
          <Remaining done={bytesDone} total={size} />
        </span>
        <div class="ends">
          {isRunning.value && !isPaused.value && (
            <Button icon="pause" onClick={pause}>
              {words.pause}
            </Button>
          )}
          {isRunning.value && isPaused.value && (
            <Button icon="play" kind="main" onClick={resume}>
              {words.resume}
            </Button>
          )}
          {!isRunning.value && count.refused > 0 && (
            <Button icon="again" onClick={retryRefused}>
              {words.retryRefused}
            </Button>
          )}
          <Button icon="download" onClick={saveList}>
            {words.saveList}
          </Button>
          <Button icon="close" onClick={() => (isRunning.value ? setStopping(true) : clear())}>
            {isRunning.value ? words.stop : words.clear}
          </Button>
        </div>
      </div>
      <Progress label={words.progress} done={size ? bytesDone : done} total={size || total} />
      <Held />
      <Studies />
      {isStopping && <StopDialog onClose={() => setStopping(false)} />}
    </section>
  );
}

function Held() {
  const held = trouble.value;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!held?.nextTryAt) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [held]);
  if (!held) return null;
  return (
    <div class="note warn" role="alert">
      <span>{held.problem.words}</span>
      {held.nextTryAt ? <span>{words.nextTry(duration((held.nextTryAt - now) / 1000))}</span> : null}
      <div>
        <Button icon="again" onClick={resume}>
          {strings.parts.retry}
        </Button>
      </div>
    </div>
  );
}

const SHOWN_STUDIES = 12;

function Studies() {
  const found = [...studies.value];
  if (!found.length || isRunning.value) return null;
  return (
    <div class="line">
      <span class="faint">{words.studies(found.length)}</span>
      {found.slice(0, SHOWN_STUDIES).map((uid, i) => (
        <ButtonLink href={link(["study", uid])}>{words.study(number(i + 1))}</ButtonLink>
      ))}
      {found.length > SHOWN_STUDIES && <ButtonLink href={link(["studies"])}>{words.allStudies}</ButtonLink>}
    </div>
  );
}

/** Guesses how long it will take by how long it took since it was begun or resumed. */
function Remaining({ done, total }: { done: number; total: number }) {
  const [start, setStart] = useState({ at: Date.now(), done });
  const isGoing = isRunning.value && !isPaused.value && !trouble.value;
  useEffect(() => setStart({ at: Date.now(), done }), [isGoing]);
  const [seconds, gone] = [(Date.now() - start.at) / 1000, done - start.done];
  if (!isGoing || seconds < 2 || gone <= 0) return null;
  return <> · {words.left(duration(((total - done) / gone) * seconds))}</>;
}

/** Save what became of each file, for a spreadsheet. */
function saveList(): void {
  const rows = items.map((item) =>
    [item.path, words.states[item.state], item.words, item.sopInstanceUid].map(quoted).join(","),
  );
  const file = new Blob([["\uFEFF" + words.listHead.map(quoted).join(","), ...rows].join("\r\n")], {
    type: "text/csv",
  });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(file);
  anchor.download = "upload.csv";
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
}

/** A cell that a spreadsheet takes for text: none that it would reckon. */
function quoted(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}
