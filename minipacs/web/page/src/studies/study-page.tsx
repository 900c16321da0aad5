import { readStudy } from "../api/studies";
import { ButtonLink } from "../parts/button";
import { useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { go, link } from "../shell/route";
import { strings } from "../strings";
import { Details } from "./details";
import { lastSearch } from "./studies";

const words = strings.studies;

/** The page of one study, which its link leads to. */
export function StudyPage({ study }: { study: string }) {
  const { value, problem, again } = useLoaded((signal) => readStudy(study, signal), study);
  const back = link(["studies"], lastSearch.value);
  return (
    <div class="screen">
      <div class="top">
        <ButtonLink icon="left" href={back}>
          {words.back}
        </ButtonLink>
        <h1 class="hidden">{words.one}</h1>
      </div>
      {problem && <Trouble problem={problem} onRetry={again} />}
      {!value && !problem && <Loading />}
      {value?.length === 0 && (
        <Empty icon="search" title={words.notHere}>
          <p>{words.notHereWords}</p>
          <p class="mono">{study}</p>
        </Empty>
      )}
      {value && value.length > 1 && <p class="note bad">{words.severalPatients}</p>}
      {value?.map((found) => (
        <div class="panel">
          <Details study={found} onRemoved={() => go(back)} />
        </div>
      ))}
    </div>
  );
}
