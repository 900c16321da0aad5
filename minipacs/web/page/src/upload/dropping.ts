import { may } from "../api/session";
import { go, link } from "../shell/route";
import { add } from "./queue";
import { dropped } from "./sources";

/** Take files that are dropped anywhere on the page: a browser would else leave the page and show them. */
export function listenForDrops(): void {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer?.types.includes("Files") || !may("store")) return;
    void add(dropped(event.dataTransfer));
    go(link(["upload"]));
  });
}
