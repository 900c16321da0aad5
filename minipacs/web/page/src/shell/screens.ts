import type { Right } from "../api/session";
import type { IconName } from "../parts/icons";

/** A screen of the page; any of the rights opens it. `belongs` are the first parts of addresses that are its. */
export interface Screen {
  name: "studies" | "upload" | "worklist" | "operations";
  icon: IconName;
  rights: Right[];
  belongs: string[];
}

export const SCREENS: Screen[] = [
  { name: "studies", icon: "folder", rights: ["read"], belongs: ["studies", "study"] },
  { name: "upload", icon: "upload", rights: ["store"], belongs: ["upload"] },
  { name: "worklist", icon: "list", rights: ["read", "worklist", "admin"], belongs: ["worklist"] },
  { name: "operations", icon: "pulse", rights: ["admin"], belongs: ["operations"] },
];
