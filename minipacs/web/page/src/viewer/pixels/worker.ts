/** Decodes frames beside the page's own thread. */

import { type Layout, NATIVE } from "../dicom/frame";
import { DECODERS, NotHere } from "./codecs";
import { fromDecoded, fromNative, type Palette, type Picture } from "./samples";

export interface Task {
  id: number;
  bytes: ArrayBuffer;
  transferSyntax: string;
  layout: Layout;
  palette: Palette | undefined;
  /** The archive has decoded it: colours lie pixel by pixel, whatever the object says. */
  isDecoded: boolean;
}

/** `elsewhere`: only the archive can decode it. */
export type Answer = { id: number; picture: Picture } | { id: number; error: string; elsewhere: boolean };

self.onmessage = async ({ data }: MessageEvent<Task>) => {
  const answer = await work(data);
  const transfer =
    "picture" in answer ? [(answer.picture.kind === "grey" ? answer.picture.samples : answer.picture.rgb).buffer] : [];
  self.postMessage(answer, { transfer });
};

async function work(task: Task): Promise<Answer> {
  const { id, layout, palette } = task;
  const bytes = new Uint8Array(task.bytes);
  try {
    const decode = DECODERS[task.transferSyntax];
    if (!decode && task.transferSyntax !== NATIVE) throw new NotHere(`frames in ${task.transferSyntax}`);
    const picture = decode
      ? fromDecoded(await decode(bytes, layout), layout, palette)
      : fromNative(bytes, layout, palette, task.isDecoded);
    return { id, picture };
  } catch (error) {
    return {
      id,
      error: error instanceof Error ? error.message : String(error),
      elsewhere: task.transferSyntax !== NATIVE,
    };
  }
}
