import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { strings } from "../../strings";
import { isHelpOpen } from "../store";

const words = strings.viewer.help;

/** All keys of the viewer. */
export function Help() {
  if (!isHelpOpen.value) return null;
  const close = () => void (isHelpOpen.value = false);
  return (
    <Dialog title={words.title} onClose={close} ends={<Button onClick={close}>{strings.parts.close}</Button>}>
      <table class="viewer-keys">
        <tbody>
          {words.rows.map(([keys, what]) => (
            <tr key={keys}>
              <th scope="row">{keys}</th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}
