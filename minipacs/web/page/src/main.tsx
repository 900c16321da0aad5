import { render } from "preact";

import "./shell/tokens.css";
import "./shell/base.css";
import "./shell/shell.css";
import "./parts/parts.css";
import { onUnauthorized } from "./api/client";
import { App } from "./shell/app";
import { listen } from "./shell/keyboard";
import { route } from "./shell/route";
import { askUser } from "./shell/sign-in";
import { followTheme } from "./shell/theme";
import { listenForDrops } from "./upload/dropping";

followTheme();
onUnauthorized(askUser);
listenForDrops();
listen(() => route.value.path[2] === "view");
render(<App />, document.getElementById("page")!);
