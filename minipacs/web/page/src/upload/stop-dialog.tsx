import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { strings } from "../strings";
import { clear } from "./queue";

const words = strings.upload;

/** Asks whether an upload is really to be given up. */
export function StopDialog({ onClose }: { onClose: () => void }) {
  const stop = () => {
    onClose();
    clear();
  };
  const ends = (
    <>
      <Button onClick={onClose}>{words.keepOn}</Button>
      <Button kind="danger main" type="submit">
        {words.stop}
      </Button>
    </>
  );
  return (
    <Dialog title={words.stopTitle} onClose={onClose} onSubmit={stop} ends={ends}>
      <p>{words.stopWords}</p>
    </Dialog>
  );
}
