import { useEffect, useState } from "preact/hooks";

import { Loading } from "../../parts/state";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import type { DisplaySet } from "../dicom/sets";
import { type Channel, type Multiplex, notes, readWaveforms } from "../dicom/waveform";
import { written } from "../tools/cursor";

const words = strings.viewer.waveform;

const PIXELS_A_MM = 4;
const MM_A_SECOND = 25;
const MM_A_MILLIVOLT = 10;
const LEAST_MM = 16;
const NAME_PIXELS = 52;
const GAP_PIXELS = 8;

/** Millivolts of a unit; what is no voltage is scaled to the room there is. */
const MILLIVOLTS: Readonly<Record<string, number>> = { uV: 0.001, mV: 1, V: 1000 };

/** An ECG or another waveform on its paper, with the same in words and numbers. */
export function Waveform({ set }: { set: DisplaySet }) {
  const [found, setFound] = useState<Multiplex[] | "broken" | undefined>();
  useEffect(() => {
    readWaveforms(set.instances[0]!).then(setFound, () => setFound("broken"));
  }, [set]);
  if (found === "broken") return <p role="alert">{words.broken}</p>;
  if (!found) return <Loading />;
  const told = notes(set.instances[0]!);
  return (
    <article class="viewer-waveform">
      <h2>
        <Text value={set.series.description || words.title} />
      </h2>
      {told.length > 0 && (
        <section>
          <h3>{words.annotations}</h3>
          <dl>
            {told.map(({ name, value }, i) => (
              <div key={i}>
                <dt>
                  <Text value={name} />
                </dt>
                <dd>
                  <Text value={value} />
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      {found.map((one, i) => (
        <Paper key={i} multiplex={one} />
      ))}
    </article>
  );
}

function Paper({ multiplex }: { multiplex: Multiplex }) {
  const { channels, seconds, label } = multiplex;
  const rows = channels.map(heightOf);
  const width = NAME_PIXELS + seconds * MM_A_SECOND * PIXELS_A_MM;
  const height = rows.reduce((sum, { size }) => sum + size, 0);
  let top = 0;
  const said = words.said(channels.length, written(seconds));
  return (
    <section>
      <h3>
        <Text value={label} /> {said}, {words.scale}
      </h3>
      <div class="viewer-paper" tabIndex={0} role="region" aria-label={said}>
        <svg width={width} height={height} role="img" aria-label={said}>
          {channels.map((channel, i) => {
            const { size, zero } = rows[i]!;
            top += size;
            return <Trace key={i} channel={channel} y={top - size + zero} multiplex={multiplex} />;
          })}
        </svg>
      </div>
      <Values channels={channels} />
    </section>
  );
}

/** Room that a channel takes, and where in it zero is, in pixels. */
function heightOf(channel: Channel): { size: number; zero: number } {
  const scale = scaleOf(channel);
  const [least, greatest] = range(channel);
  const above = Math.max(greatest * scale, (LEAST_MM / 2) * PIXELS_A_MM);
  const below = Math.max(-least * scale, (LEAST_MM / 2) * PIXELS_A_MM);
  return { size: above + below + 2 * GAP_PIXELS, zero: above + GAP_PIXELS };
}

/** Pixels for a unit of a channel. */
function scaleOf(channel: Channel): number {
  const millivolts = MILLIVOLTS[channel.unit];
  if (millivolts) return millivolts * MM_A_MILLIVOLT * PIXELS_A_MM;
  const [least, greatest] = range(channel);
  return (LEAST_MM * PIXELS_A_MM) / (greatest - least || 1);
}

function range({ samples }: Channel): [number, number] {
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of samples) {
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  return [least, greatest];
}

function Trace({ channel, y, multiplex }: { channel: Channel; y: number; multiplex: Multiplex }) {
  const scale = scaleOf(channel);
  const step = (MM_A_SECOND * PIXELS_A_MM) / multiplex.rate;
  let path = "";
  channel.samples.forEach(
    (value, i) => (path += `${i ? "L" : "M"}${(NAME_PIXELS + i * step).toFixed(1)} ${(y - value * scale).toFixed(1)}`),
  );
  return (
    <g data-lead={channel.name}>
      <text x="4" y={y}>
        {channel.name}
      </text>
      <path d={path} />
    </g>
  );
}

function Values({ channels }: { channels: readonly Channel[] }) {
  return (
    <details>
      <summary>{words.table}</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">{words.lead}</th>
            <th scope="col">{words.least}</th>
            <th scope="col">{words.greatest}</th>
          </tr>
        </thead>
        <tbody>
          {channels.map((channel) => {
            const [least, greatest] = range(channel);
            return (
              <tr key={channel.name}>
                <th scope="row">{channel.name}</th>
                <td>
                  {written(least)} {channel.unit}
                </td>
                <td>
                  {written(greatest)} {channel.unit}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </details>
  );
}
