import { Progress } from "../../parts/progress";
import { strings } from "../../strings";
import { ACTIONS, chooseLayout, chooseTool, isReformatted, reformatting } from "../actions";
import { active, layout, LAYOUTS, tool } from "../store";
import { written } from "../tools/cursor";
import { TOOLS } from "../tools/group";
import { type Offer, offers, setWindow } from "../tools/window";
import { rateOf, setRate } from "../tools/watch";
import { ToolButton } from "./icons";

const words = strings.viewer;

/** Tools, what is done at once, windows, and how the screen is parted. */
export function Toolbar() {
  const cell = active.value;
  const hasPicture = cell.shown.value !== undefined;
  const progress = reformatting.value;
  return (
    <div class="viewer-toolbar">
      <div role="group" aria-label={words.tools}>
        {TOOLS.map(({ id, key }) => (
          <ToolButton
            key={id}
            icon={id}
            label={words.tool[id]}
            hint={key}
            isOn={tool.value === id}
            onClick={() => chooseTool(id)}
          />
        ))}
      </div>
      <Windows />
      <Cine />
      <div role="group" aria-label={words.actions}>
        {ACTIONS.map(({ id, key, icon, run, isOn, ofPicture }) => (
          <ToolButton
            key={id}
            icon={icon}
            label={words.action[id as keyof typeof words.action]}
            hint={key}
            {...(isOn && { isOn: isOn(cell) })}
            isDisabled={ofPicture === true && !hasPicture}
            onClick={() => run(cell)}
          />
        ))}
      </div>
      {!isReformatted.value && (
        <div role="group" aria-label={words.layouts}>
          {LAYOUTS.map(({ id }) => (
            <ToolButton
              key={id}
              icon={id}
              label={words.layout[id]}
              hint="g"
              isOn={layout.value === id}
              onClick={() => chooseLayout(id)}
            />
          ))}
        </div>
      )}
      {progress && (
        <Progress label={words.reformatting(progress.done, progress.of)} done={progress.done} total={progress.of} />
      )}
    </div>
  );
}

/** What an offer is called. */
export function nameOf({ name, label }: Offer): string {
  const found = words.preset[name];
  return typeof found === "function" ? found(label) : (found ?? name);
}

/** Windows by name and by number. */
function Windows() {
  const cell = active.value;
  const found = offers(cell);
  const window = cell.window.value;
  const chosen = found.findIndex(({ choice }) => JSON.stringify(choice) === JSON.stringify(cell.choice.value));
  if (!found.length) return null;
  const value = cell.choice.value.by === "object" ? "stored" : chosen < 0 ? "hand" : String(chosen);
  const change = (event: Event) => {
    const asked = (event.currentTarget as HTMLSelectElement).value;
    cell.choose(asked === "stored" ? { by: "object" } : (found[Number(asked)]?.choice ?? cell.choice.value));
  };
  const set = (part: "width" | "center") => (event: Event) => {
    const asked = Number((event.currentTarget as HTMLInputElement).value);
    if (window && Number.isFinite(asked)) setWindow(cell, { ...window, [part]: asked }, 1e-6);
  };
  return (
    <div role="group" aria-label={words.presets} class="viewer-windows">
      <select class="input" aria-label={words.presets} value={value} onChange={change}>
        <option value="stored">{words.asStored}</option>
        {found.map((offer, i) => (
          <option key={i} value={String(i)}>
            {nameOf(offer)}
          </option>
        ))}
        {value === "hand" && <option value="hand">{words.byHand}</option>}
      </select>
      {window && (
        <>
          <label>
            W{" "}
            <input
              class="input"
              type="number"
              step="any"
              aria-label={words.width}
              value={written(window.width)}
              onChange={set("width")}
            />
          </label>
          <label>
            L{" "}
            <input
              class="input"
              type="number"
              step="any"
              aria-label={words.center}
              value={written(window.center)}
              onChange={set("center")}
            />
          </label>
        </>
      )}
    </div>
  );
}

function Cine() {
  const cell = active.value;
  if (cell.frames.length < 2) return null;
  const isPlaying = cell.playing.value;
  const set = (event: Event) => setRate(cell, Number((event.currentTarget as HTMLInputElement).value));
  return (
    <div role="group" aria-label={words.action.play} class="viewer-cine">
      <ToolButton
        icon={isPlaying ? "pause" : "play"}
        label={isPlaying ? words.action.pause : words.action.play}
        hint="Space"
        isOn={isPlaying}
        onClick={() => (cell.playing.value = !isPlaying)}
      />
      <label>
        <input
          class="input"
          type="number"
          min="1"
          max="60"
          step="any"
          aria-label={words.framesPerSecond}
          value={rateOf(cell)}
          onChange={set}
        />{" "}
        /s
      </label>
    </div>
  );
}
