import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { strings } from "../strings";
import { areKeysShown } from "./keyboard";

/** The list of keys. */
export function Keys() {
  if (!areKeysShown.value) return null;
  const close = () => (areKeysShown.value = false);
  return (
    <Dialog title={strings.keys.title} onClose={close} ends={<Button onClick={close}>{strings.parts.close}</Button>}>
      <dl class="facts">
        {strings.keys.rows.map(([keys, words]) => (
          <>
            <dt>
              <kbd class="mono">{keys}</kbd>
            </dt>
            <dd>{words}</dd>
          </>
        ))}
      </dl>
    </Dialog>
  );
}
