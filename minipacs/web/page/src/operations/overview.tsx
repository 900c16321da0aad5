import { type Day, type Health, readGrowth, readHealth, readStatistics, type Statistics } from "../api/operations";
import { ago, bytes, number } from "../parts/format";
import { Icon } from "../parts/icons";
import { useLoaded } from "../parts/loaded";
import { Loading, Trouble } from "../parts/state";
import { Text } from "../parts/text";
import { link } from "../shell/route";
import { strings } from "../strings";
import { Growth, Shares } from "./charts";

const words = strings.operations;
const LOOK_MS = 15_000;
const LOOK_AT_GROWTH_MS = 300_000;

/** Whether all is well, how much there is, and how it grows. */
export function Overview() {
  const health = useLoaded(readHealth, "health", LOOK_MS);
  const statistics = useLoaded(readStatistics, "statistics", LOOK_MS);
  const growth = useLoaded(readGrowth, "growth", LOOK_AT_GROWTH_MS);
  return (
    <>
      {health.problem && <Trouble problem={health.problem} onRetry={health.again} />}
      {health.value && <State health={health.value} />}
      {statistics.problem && <Trouble problem={statistics.problem} onRetry={statistics.again} />}
      {!statistics.value && !statistics.problem && <Loading />}
      {statistics.value && <Tiles statistics={statistics.value} growth={growth.value ?? []} />}
      {growth.problem && <Trouble problem={growth.problem} onRetry={growth.again} />}
      <div class="charts">
        {growth.value && <Growth days={growth.value} />}
        {statistics.value && <Shares byModality={statistics.value.by_modality} />}
      </div>
      {health.value && <Checks health={health.value} />}
    </>
  );
}

function State({ health }: { health: Health }) {
  const isGood = health.status === "ok";
  const faults = health.checks.filter(({ severity }) => severity !== "ok");
  return (
    <div class={`note ${isGood ? (faults.length ? "warn" : "good") : "bad"}`} role="status">
      <strong>{isGood ? words.good : words.failing}</strong>
      {health.reason && <Text value={health.reason} />}
      {faults.map(({ what, detail }) => (
        <Text value={detail ? `${what}: ${detail}` : what} />
      ))}
      <span class="faint">
        minipacs {health.version} ·{" "}
        {health.verify ? words.verified(ago(health.verify.at), health.verify.findings) : words.neverVerified}
      </span>
    </div>
  );
}

/** A figure; one that needs somebody leads to where it is told. */
interface Tile {
  name: string;
  value: string;
  isWrong?: boolean;
  part?: string;
  more?: string;
}

function Tiles({ statistics, growth }: { statistics: Statistics; growth: Day[] }) {
  const { commitments_given_up: givenUp, ...found } = statistics;
  const tiles: Tile[] = [
    { name: words.patients, value: number(found.patients) },
    { name: words.studies, value: number(found.studies) },
    { name: words.series, value: number(found.series) },
    { name: words.instances, value: number(found.instances) },
    { name: words.stored, value: bytes(found.stored_bytes) },
    { name: words.free, value: bytes(found.storage_free_bytes), more: lasting(found.storage_free_bytes, growth) },
    { name: words.unavailable, value: number(found.unavailable_instances), isWrong: found.unavailable_instances > 0 },
    {
      name: words.parts.quarantine,
      value: number(found.quarantined_files),
      isWrong: found.quarantined_files > 0,
      part: "quarantine",
    },
    { name: words.parts.conflicts, value: number(found.conflicts), isWrong: found.conflicts > 0, part: "conflicts" },
    {
      name: words.deadLetters,
      value: number(found.deliveries_given_up),
      isWrong: found.deliveries_given_up > 0,
      part: "queue",
    },
    { name: words.givenUp, value: number(givenUp), isWrong: givenUp > 0, part: "queue" },
    { name: words.brokenFiles, value: number(found.worklist_broken_files), isWrong: found.worklist_broken_files > 0 },
  ];
  return (
    <dl class="tiles">
      {tiles.map(({ name, value, isWrong, part, more }) => (
        <div class={`panel tile ${isWrong ? "wrong" : ""}`}>
          <dt>
            {isWrong && <Icon name="warning" size={14} />}
            {part ? <a href={link(["operations", part])}>{name}</a> : name}
          </dt>
          <dd>
            <span class="figure">{value}</span>
            {more && <span class="faint">{more}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** Say how long free space lasts at the pace of the last days. */
function lasting(free: number, growth: Day[]): string {
  const came = growth.reduce((sum, one) => sum + one.bytes, 0);
  const days = came > 0 ? Math.floor(free / (came / growth.length)) : 0;
  return days > 0 && days < 3650 ? words.lasts(number(days)) : "";
}

const KINDS = { ok: "good", warn: "warn", fault: "bad" };

function Checks({ health }: { health: Health }) {
  return (
    <section class="panel">
      <h2>{words.checks}</h2>
      <ul class="checks">
        {health.checks.map(({ severity, what, detail }) => (
          <li>
            <span class={`badge ${KINDS[severity]}`}>{words.severities[severity]}</span>
            <Text value={detail ? `${what}: ${detail}` : what} />
          </li>
        ))}
      </ul>
    </section>
  );
}
