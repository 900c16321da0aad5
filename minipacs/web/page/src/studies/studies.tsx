import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";

import { readStudy, type Study } from "../api/studies";
import { may } from "../api/session";
import { Button, ButtonLink } from "../parts/button";
import { number } from "../parts/format";
import { useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { useMedia } from "../parts/window";
import { isTaken } from "../shell/keyboard";
import { changed, go, link, route } from "../shell/route";
import { strings } from "../strings";
import { Details } from "./details";
import { Filters } from "./filters";
import { list } from "./list";
import { PLACES, type Search, USUAL_SORT } from "./search";
import { StudyTable } from "./table";
import "./studies.css";

const words = strings.studies;

/** From here on the details of a study stand beside the list. */
const WIDE = "(min-width: 900px)";

/** The search that the user was at last, for the way back. */
export const lastSearch = signal<Record<string, string>>({});

/** The list of studies, its search, and the details of one. */
export function Studies() {
  const asked = route.value.query;
  const search: Search = {
    typed: asked.get("q") ?? "",
    by: PLACES.find((place) => place === asked.get("by")) ?? "",
    modality: asked.get("modality") ?? "",
    days: asked.get("days") ?? "",
    sort: asked.get("sort") ?? USUAL_SORT,
  };
  const open = asked.get("study") ?? "";
  const isWide = useMedia(WIDE);
  const set = (changes: Record<string, string>) => go(changed(["studies"], changes), { replace: true });
  useEffect(() => void (lastSearch.value = Object.fromEntries(asked)), [asked]);
  useEffect(() => void list.search(search), [asked]);
  useViewKey(open);
  const choose = (study: Study, isSure: boolean) => {
    if (!isWide) go(link(["study", study.uid]));
    else if (study.uid === open && isSure) go(link(["study", study.uid, "view"]));
    else set({ study: study.uid });
  };
  const again = () => void list.search(search, true);
  return (
    <div class={`studies ${open && isWide ? "with-details" : ""}`}>
      <h1 class="hidden">{words.list}</h1>
      <Filters search={search} list={list} onChange={set} />
      {list.problem.value && <Trouble problem={list.problem.value} onRetry={again} />}
      <Found
        sort={search.sort}
        open={open}
        isFiltered={Boolean(search.typed || search.days || search.modality)}
        onSort={(sort) => set({ sort })}
        onChoose={choose}
        onClear={() => set({ q: "", by: "", days: "", modality: "" })}
      />
      {open && isWide && (
        <Beside study={open} onClose={() => set({ study: "" })} onRemoved={() => (set({ study: "" }), again())} />
      )}
    </div>
  );
}

interface FoundProps {
  sort: string;
  open: string;
  isFiltered: boolean;
  onSort: (sort: string) => void;
  onChoose: (study: Study, isSure: boolean) => void;
  onClear: () => void;
}

function Found({ sort, open, isFiltered, onSort, onChoose, onClear }: FoundProps) {
  const total = list.total.value;
  if (total === null) return list.problem.value ? null : <Loading />;
  if (total === 0 && isFiltered) {
    return (
      <Empty icon="search" title={words.nothingFound}>
        <p>{words.nothingFoundWords}</p>
        <Button onClick={onClear}>{words.clear}</Button>
      </Empty>
    );
  }
  if (total === 0) {
    return (
      <Empty icon="folder" title={words.nothingHere}>
        <p>{words.nothingHereWords}</p>
        {may("store") && (
          <ButtonLink icon="upload" kind="main" href={link(["upload"])}>
            {strings.shell.screens.upload}
          </ButtonLink>
        )}
      </Empty>
    );
  }
  return (
    <>
      <p class="hidden" role="status">
        {words.found(number(total), total)}
      </p>
      <StudyTable list={list} sort={sort} onSort={onSort} open={open} onChoose={onChoose} />
    </>
  );
}

function Beside({ study, onClose, onRemoved }: { study: string; onClose: () => void; onRemoved: () => void }) {
  const settled = useSettled(study);
  const { value, problem, again } = useLoaded((call) => readStudy(settled, call), settled);
  return (
    <aside class="beside" aria-label={words.details}>
      <div class="close">
        <Button icon="close" kind="plain" isBare onClick={onClose}>
          {words.closeDetails}
        </Button>
      </div>
      {problem && <Trouble problem={problem} onRetry={again} />}
      {!value && !problem && <Loading />}
      {value?.length === 0 && <Empty icon="search" title={words.notHere} />}
      {value && value.length > 1 && <p class="note bad">{words.severalPatients}</p>}
      {value?.map((found) => (
        <Details key={`${found.uid} ${found.patient.id}`} study={found} onRemoved={onRemoved} />
      ))}
    </aside>
  );
}

const SETTLE_MS = 120;

/** Give a value once it has stopped changing: whoever moves along the list with a key passes many. */
function useSettled(value: string): string {
  const [settled, setSettled] = useState(value);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return undefined;
    }
    const timer = setTimeout(() => setSettled(value), SETTLE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** `v` opens the viewer with the study that is open, Escape closes its details. */
function useViewKey(open: string): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (!open || isTaken(event)) return;
      if (event.key === "v") go(link(["study", open, "view"]));
      else if (event.key === "Escape") go(changed(["studies"], { study: "" }), { replace: true });
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [open]);
}
