import type { Day } from "../api/operations";
import { bytes, day, number } from "../parts/format";
import { Value } from "../parts/text";
import { strings } from "../strings";

const words = strings.operations;

const HEIGHT = 120;
const BAR = 10;
const STEP = 14;

/** What came on each of the last days, as bars; a table says the same. */
export function Growth({ days }: { days: Day[] }) {
  const most = Math.max(1, ...days.map((one) => one.bytes));
  const total = days.reduce((sum, one) => sum + one.bytes, 0);
  const first = days[0];
  const last = days.at(-1);
  return (
    <section class="panel chart">
      <h2>{words.growth}</h2>
      <p class="faint">{words.growthSum(bytes(total), bytes(most))}</p>
      <svg viewBox={`0 0 ${Math.max(1, days.length) * STEP} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        {days.map((one, i) => {
          const height = one.bytes ? Math.max(2, (one.bytes / most) * (HEIGHT - 4)) : 0;
          return <rect x={i * STEP + 2} y={HEIGHT - height} width={BAR} height={height} rx="1.5" />;
        })}
      </svg>
      <div class="ends faint">
        <span>{first && day(first.day.replaceAll("-", ""))}</span>
        <span>{last && day(last.day.replaceAll("-", ""))}</span>
      </div>
      <table class="hidden">
        <caption>{words.growth}</caption>
        <tr>
          <th scope="col">{words.day}</th>
          <th scope="col">{words.instances}</th>
          <th scope="col">{words.size}</th>
        </tr>
        {days.map((one) => (
          <tr>
            <th scope="row">{day(one.day.replaceAll("-", ""))}</th>
            <td>{number(one.instances)}</td>
            <td>{bytes(one.bytes)}</td>
          </tr>
        ))}
      </table>
    </section>
  );
}

/** How many objects there are of each modality. */
export function Shares({ byModality }: { byModality: Record<string, number> }) {
  const rows = Object.entries(byModality).sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  return (
    <section class="panel chart">
      <h2>{words.byModality}</h2>
      <dl class="shares">
        {rows.map(([name, count]) => (
          <div>
            <dt>
              <Value value={name} short />
            </dt>
            <dd>
              <div class="bar" aria-hidden="true">
                <div style={{ width: `${(count / most) * 100}%` }} />
              </div>
              <span>{number(count)}</span>
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
