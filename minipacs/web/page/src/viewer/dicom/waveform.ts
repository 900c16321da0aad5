/** Waveforms: channels of samples at equal times (PS3.3 C.10.9). */

import { bulk } from "../archive";
import { type DataSet, items, meaning, number, text, texts } from "./json";

export interface Channel {
  name: string;
  unit: string;
  samples: Float64Array;
}

/** Channels that were sampled together. */
export interface Multiplex {
  label: string;
  rate: number;
  seconds: number;
  channels: Channel[];
}

export interface Note {
  name: string;
  value: string;
}

const WAVEFORM_SEQUENCE = "54000100";
const DATA = "54001010";

type Reader = (view: DataView, at: number) => number;
const READERS: Readonly<Record<string, [number, Reader]>> = {
  SB: [1, (view, at) => view.getInt8(at)],
  UB: [1, (view, at) => view.getUint8(at)],
  SS: [2, (view, at) => view.getInt16(at, true)],
  US: [2, (view, at) => view.getUint16(at, true)],
  SL: [4, (view, at) => view.getInt32(at, true)],
  UL: [4, (view, at) => view.getUint32(at, true)],
};

/** Read all samples in their units. Raises Error. */
export async function readWaveforms(dataSet: DataSet): Promise<Multiplex[]> {
  return Promise.all(items(dataSet, WAVEFORM_SEQUENCE).map(read));
}

async function read(item: DataSet): Promise<Multiplex> {
  const [count, total, rate] = [
    number(item, "003A0005") ?? 0,
    number(item, "003A0010") ?? 0,
    number(item, "003A001A") ?? 0,
  ];
  const reader = READERS[text(item, "54001006")];
  const definitions = items(item, "003A0200");
  const bytes = await bulk(item, DATA);
  if (
    !reader ||
    !count ||
    !total ||
    rate <= 0 ||
    bytes.length < count * total * reader[0] ||
    definitions.length !== count
  ) {
    throw new Error("the samples do not fit what is told of them");
  }
  const [size, get] = reader;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const channels = definitions.map((definition, channel) => {
    const factor = (number(definition, "003A0210") ?? 1) * (number(definition, "003A0212") ?? 1);
    const baseline = number(definition, "003A0213") ?? 0;
    const samples = Float64Array.from(
      { length: total },
      (_, i) => get(view, (i * count + channel) * size) * factor + baseline,
    );
    return { name: nameOf(definition, channel), unit: text(items(definition, "003A0211")[0], "00080100"), samples };
  });
  return { label: text(item, "003A0020"), rate, seconds: total / rate, channels };
}

function nameOf(definition: DataSet, channel: number): string {
  const told = text(definition, "003A0203") || meaning(definition, "003A0208");
  return told.replace(/^lead\s+/i, "") || `${channel + 1}`;
}

/** What was measured or read from the waveforms. */
export function notes(dataSet: DataSet): Note[] {
  return items(dataSet, "0040B020").flatMap((item) => {
    const value = [
      ...texts(item, "00700006"),
      meaning(item, "0040A168"),
      `${texts(item, "0040A30A").join(", ")} ${text(items(item, "004008EA")[0], "00080100")}`.trim(),
    ];
    const name = meaning(item, CONCEPT);
    const told = value.filter(Boolean).join(" ");
    return name || told ? [{ name, value: told }] : [];
  });
}

const CONCEPT = "0040A043";
