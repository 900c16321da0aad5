import { useEffect, useRef, useState } from "preact/hooks";

import { readThumbnail, WITHOUT_PICTURE } from "../api/studies";
import { strings } from "../strings";

/** Pictures that are fetched at the same time: the archive makes each. */
const AT_ONCE = 4;

const waiting: (() => void)[] = [];
let running = 0;

/** The small picture of a series, fetched when it comes into view; its modality where there is none. */
export function Thumbnail({ study, series, modality }: { study: string; series: string; modality: string }) {
  const box = useRef<HTMLDivElement>(null);
  const [address, setAddress] = useState("");
  const [isMissing, setMissing] = useState(WITHOUT_PICTURE.has(modality));
  useEffect(() => {
    if (WITHOUT_PICTURE.has(modality)) return;
    const call = new AbortController();
    let made = "";
    const fetch = async () => {
      if (call.signal.aborted) return;
      const answer = await readThumbnail(study, series, call.signal);
      if (call.signal.aborted) return;
      if (answer.ok) setAddress((made = URL.createObjectURL(answer.value)));
      else setMissing(true);
    };
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      inTurn(fetch);
    });
    if (box.current) observer.observe(box.current);
    return () => {
      observer.disconnect();
      call.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [study, series, modality]);
  return (
    <div class="thumbnail" ref={box}>
      {address && !isMissing ? (
        <img src={address} alt="" onError={() => setMissing(true)} />
      ) : (
        <span>{isMissing ? modality || strings.studies.noPicture : ""}</span>
      )}
    </div>
  );
}

function inTurn(work: () => Promise<void>): void {
  const start = () => {
    running++;
    void work().finally(() => {
      running--;
      waiting.shift()?.();
    });
  };
  if (running < AT_ONCE) start();
  else waiting.push(start);
}
