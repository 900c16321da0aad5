export function StudyPage({ study }: { study: string }) { return <p>{study}</p>; }
