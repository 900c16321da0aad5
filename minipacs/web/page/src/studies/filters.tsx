import { useEffect, useState } from "preact/hooks";

import { Button } from "../parts/button";
import { number } from "../parts/format";
import { Icon } from "../parts/icons";
import { strings } from "../strings";
import type { StudyList } from "./list";
import { MODALITIES, PLACES, type Search, SPANS } from "./search";

const words = strings.studies;
const TYPING_MS = 180;

interface FiltersProps {
  search: Search;
  list: StudyList;
  onChange: (changes: Record<string, string>) => void;
}

/** The search box, what narrows the list further, and how many were found. */
export function Filters({ search, list, onChange }: FiltersProps) {
  const total = list.total.value;
  return (
    <search class="filters">
      <Box typed={search.typed} onType={(q) => onChange({ q, by: "" })} />
      <Button icon="again" kind="plain" isBare onClick={() => void list.search(search, true)}>
        {words.refresh}
      </Button>
      <label>
        <span class="hidden">{words.modality}</span>
        <select
          class="input"
          value={search.modality}
          onChange={(event) => onChange({ modality: event.currentTarget.value })}
        >
          <option value="">{words.anyModality}</option>
          {MODALITIES.map((name) => (
            <option value={name}>{name}</option>
          ))}
        </select>
      </label>
      <Days days={search.days} onChange={(days) => onChange({ days })} />
      {total !== null && <span class="total faint">{words.found(number(total), total)}</span>}
      {list.counts.value && <Places list={list} onChange={onChange} />}
    </search>
  );
}

/** Searches while one types; what stands in the address counts when it changes by other means. */
function Box({ typed, onType }: { typed: string; onType: (text: string) => void }) {
  const [text, setText] = useState(typed);
  useEffect(() => setText(typed), [typed]);
  useEffect(() => {
    if (text === typed) return undefined;
    const timer = setTimeout(() => onType(text), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const press = (event: KeyboardEvent) => {
    if (event.key === "Enter") onType(text);
    else if (event.key === "ArrowDown") document.querySelector<HTMLElement>("[role=grid]")?.focus();
    else return;
    event.preventDefault();
  };
  return (
    <label class="search-box">
      <span class="hidden">{words.search}</span>
      <Icon name="search" />
      <input
        class="input"
        type="search"
        data-search
        placeholder={words.searchHint}
        maxLength={200}
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={press}
      />
    </label>
  );
}

function Days({ days, onChange }: { days: string; onChange: (days: string) => void }) {
  const isOwn = /\d/.test(days) || days === "-";
  const [from = "", to = ""] = isOwn ? days.split("-") : [];
  return (
    <>
      <label>
        <span class="hidden">{words.date}</span>
        <select
          class="input"
          value={isOwn ? "own" : days}
          onChange={(event) => onChange(event.currentTarget.value === "own" ? "-" : event.currentTarget.value)}
        >
          <option value="">{words.anyDate}</option>
          {Object.keys(SPANS).map((name) => (
            <option value={name}>{words.spans[name]}</option>
          ))}
          <option value="own">{words.ownDates}</option>
        </select>
      </label>
      {isOwn && (
        <>
          <DateField label={words.from} value={from} onChange={(value) => onChange(`${value}-${to}`)} />
          <DateField label={words.to} value={to} onChange={(value) => onChange(`${from}-${value}`)} />
        </>
      )}
    </>
  );
}

function DateField({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const written = value.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3");
  return (
    <label class="date">
      <span class="faint">{label}</span>
      <input
        class="input"
        type="date"
        value={written}
        onChange={(event) => onChange(event.currentTarget.value.replaceAll("-", ""))}
      />
    </label>
  );
}

/** Where the words that were typed stand, with how many studies each place has. */
function Places({ list, onChange }: { list: StudyList; onChange: (changes: Record<string, string>) => void }) {
  return (
    <div class="places" role="group" aria-label={words.foundIn}>
      <span class="faint">{words.foundIn}</span>
      {PLACES.map((place) => (
        <button
          type="button"
          class="button"
          aria-pressed={list.place.value === place}
          onClick={() => onChange({ by: place })}
        >
          {words.places[place]} <span class="faint">{number(list.counts.value?.[place] ?? 0)}</span>
        </button>
      ))}
    </div>
  );
}
