/** The page: header, navigation, theme and keys; each place of it is one file. Addresses are real, so links can be shared. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { go } from './address.ts';
import { Cardinality } from './cardinality.tsx';
import { Explore } from './explore.tsx';
import { useDecisions } from './live.ts';
import { Scaling } from './scaling.tsx';
import { Status } from './status.tsx';
import './style.css';
import { Why } from './why.tsx';

const PLACES = [
  { path: '/scaling', name: 'Scaling' },
  { path: '/query', name: 'Explore' },
  { path: '/cardinality', name: 'Cardinality' },
  { path: '/status', name: 'Status' },
] as const;

function useAddress(): URL {
  const [url, setUrl] = useState(() => new URL(location.href));
  useEffect(() => {
    const changed = (): void => setUrl(new URL(location.href));
    addEventListener('popstate', changed);
    return () => removeEventListener('popstate', changed);
  }, []);
  return url;
}

function Page() {
  const url = useAddress();
  const live = useDecisions();
  const place = url.pathname === '/' ? '/scaling' : url.pathname === '/graph' ? '/query' : url.pathname;
  useKeys();
  return (
    <>
      <a class="skip" href="#main">
        To the content
      </a>
      <header>
        <strong>Tidegauge</strong>
        <nav aria-label="Places">
          {PLACES.map(({ path, name }, i) => (
            <a key={path} href={path} aria-current={place.startsWith(path) ? 'page' : undefined} title={`Key ${i + 1}`}>
              {name}
            </a>
          ))}
        </nav>
        <div class="end">
          <span class={`soft state ${live.connected ? 'good' : 'warn'}`} role="status">
            {live.connected ? 'live' : 'connecting …'}
          </span>
          <ThemeButton />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {place === '/scaling' ? <Scaling live={live} /> : null}
        {place === '/scaling/why' ? <Why url={url} live={live} /> : null}
        {place === '/query' ? <Explore url={url} /> : null}
        {place === '/cardinality' ? <Cardinality /> : null}
        {place === '/status' ? <Status /> : null}
      </main>
    </>
  );
}

type Theme = 'light' | 'dark';

function systemTheme(): Theme {
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

function ThemeButton() {
  const [theme, setTheme] = useState<Theme>(() => (localStorage.getItem('theme') as Theme | null) ?? systemTheme());
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const other = theme === 'dark' ? 'light' : 'dark';
  const change = (): void => {
    localStorage.setItem('theme', other);
    setTheme(other);
  };
  return (
    <button type="button" onClick={change} aria-label={`Switch to the ${other} theme`}>
      {theme === 'dark' ? '☀' : '☾'}
    </button>
  );
}

/** 1 to 4 go to a place, / goes to the expression. */
function useKeys(): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const target = event.composedPath()[0] as HTMLElement;
      if (
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        target.isContentEditable ||
        /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName)
      )
        return;
      const place = PLACES[Number(event.key) - 1];
      if (place !== undefined) go(place.path);
      else if (event.key === '/') {
        if (location.pathname !== '/query') go('/query');
        setTimeout(() => dispatchEvent(new CustomEvent('focus-expression')));
      } else return;
      event.preventDefault();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);
}

/** Links to places of this page are followed without loading it again. */
addEventListener('click', (event) => {
  const link = (event.target as Element).closest?.('a');
  if (link == null || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  if (link.origin !== location.origin || link.hash !== '' || link.hasAttribute('data-plain')) return;
  event.preventDefault();
  go(link.href);
  scrollTo(0, 0);
});

document.documentElement.dataset.theme = localStorage.getItem('theme') ?? systemTheme();
render(<Page />, document.getElementById('page')!);
