import { render } from "preact";

render(<main>minipacs</main>, document.getElementById("page")!);
