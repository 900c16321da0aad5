import { ask, askJson, json, query, type Result, sendJson } from "./client";

/** A scheduled procedure step: its attributes by keyword, as text. */
export interface Step {
  id: number;
  /** The file that it comes from, "" if it was made here. */
  source: string;
  state: string;
  PatientName: string;
  PatientID: string;
  PatientBirthDate: string;
  PatientSex: string;
  AccessionNumber: string;
  Modality: string;
  ScheduledStationAETitle: string;
  ScheduledProcedureStepStartDate: string;
  ScheduledProcedureStepStartTime: string;
  ScheduledProcedureStepDescription: string;
  RequestedProcedureDescription: string;
  ScheduledPerformingPhysicianName: string;
  ReferringPhysicianName: string;
  StudyInstanceUID: string;
}

/** More than a day has on any station. */
const MAX_STEPS = 1000;

/** List the steps of a day, or of a range of days (DA), those that are begun or over too. */
export function readSteps(days: string, signal: AbortSignal): Promise<Result<Step[]>> {
  return askJson(`api/v1/worklist?${query({ date: days, all: true, limit: MAX_STEPS })}`, { signal });
}

export function addStep(values: Record<string, string>): Promise<Result<{ id: number }>> {
  const given = Object.entries(values).filter(([, value]) => value.trim() !== "");
  return sendJson("api/v1/worklist", Object.fromEntries(given));
}

export async function cancelStep(id: number): Promise<Result<null>> {
  const answer = await ask(`api/v1/worklist/${id}/cancel`, { method: "POST" });
  return answer.ok ? json(answer.value) : answer;
}
