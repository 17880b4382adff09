'use strict';
(() => {
  const PERIOD = 2000, HIDDEN = 10000, PATIENCE = 8000;
  const WINDOW = 300; // seconds that charts show
  const RECENT = 10; // seconds that latencies are about
  const SVG = 'http://www.w3.org/2000/svg';

  const byId = (id) => document.getElementById(id);
  const show = (id, text) => { const node = byId(id); if (node.textContent !== text) node.textContent = text; };

  // Numbers for people.
  const number = (value) => {
    if (value >= 1e6) return (value / 1e6).toFixed(1) + ' M';
    if (value >= 1e4) return (value / 1e3).toFixed(1) + ' k';
    return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
  };
  const bytes = (value) => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return value.toFixed(unit > 0 && value < 10 ? 1 : 0) + ' ' + units[unit] + '/s';
  };
  const time = (seconds) => {
    if (seconds === undefined || seconds === null) return '–';
    if (seconds < 1e-3) return (seconds * 1e6).toFixed(0) + ' µs';
    if (seconds < 1) return (seconds * 1e3).toFixed(seconds < 1e-2 ? 2 : 0) + ' ms';
    if (seconds < 120) return seconds.toFixed(1) + ' s';
    const parts = [[86400, 'd'], [3600, 'h'], [60, 'min']];
    const first = Math.max(0, parts.findIndex(([size]) => seconds >= size));
    return parts.slice(first, first + 2).map(([size, name]) => {
      const count = Math.floor(seconds / size);
      seconds -= count * size;
      return count + ' ' + name;
    }).join(' ');
  };

  // A chart of one or two lines over the last minutes.
  class Chart {
    constructor(id, name, format, count, orders) {
      this.name = name;
      this.orders = orders; // each line up is ten times as much, as the lines are far apart
      this.format = format;
      this.points = [];
      const figure = byId(id);
      this.svg = document.createElementNS(SVG, 'svg');
      this.svg.setAttribute('viewBox', '0 0 300 100');
      this.svg.setAttribute('preserveAspectRatio', 'none');
      this.svg.setAttribute('role', 'img');
      this.svg.setAttribute('aria-label', name + ': no data');
      this.lines = ['line-a', 'line-b'].slice(0, count).map((name) => {
        const line = document.createElementNS(SVG, 'polyline');
        line.setAttribute('class', name);
        this.svg.append(line);
        return line;
      });
      const caption = document.createElement('figcaption');
      this.top = document.createElement('span');
      const span = document.createElement('span');
      span.textContent = (orders ? 'logarithmic, ' : '') + 'last 5 minutes';
      caption.append(this.top, span);
      figure.append(caption, this.svg);
    }

    add(at, values) {
      this.points.push({ at, values });
      while (this.points.length && this.points[0].at < at - WINDOW) this.points.shift();
      const known = this.points.flatMap((point) => point.values).filter((value) => value !== undefined);
      const top = Math.max(...known, 0);
      const positive = known.filter((value) => value > 0);
      const low = Math.min(...positive) / 2;
      const height = (value) => {
        if (!(top > 0)) return 0;
        if (!this.orders) return value / top;
        return value > low ? Math.log(value / low) / Math.log(top / low) : 0;
      };
      this.top.textContent = known.length ? 'up to ' + this.format(top) : 'no data';
      this.lines.forEach((line, i) => {
        const drawn = this.points.filter((point) => point.values[i] !== undefined).map((point) => {
          const x = 300 - (at - point.at) / WINDOW * 300;
          const y = 97 - height(point.values[i]) * 92;
          return x.toFixed(1) + ',' + y.toFixed(1);
        });
        line.setAttribute('points', drawn.join(' '));
      });
      const now = values.filter((value) => value !== undefined).map(this.format).join(' and ');
      this.svg.setAttribute('aria-label', this.name + ' of the last five minutes: now ' + (now || 'no data')
        + (known.length ? ', at most ' + this.format(top) : ''));
    }
  }

  const charts = {
    bytes: new Chart('chart-bytes', 'Bytes from and to clients', bytes, 2),
    latency: new Chart('chart-latency', 'Mean time of gateway and Kafka', time, 2, true),
    connections: new Chart('chart-connections', 'Connections of clients and to brokers', number, 2),
    errors: new Chart('chart-errors', 'Errors of the gateway and of Kafka per second', number, 2),
    lag: new Chart('chart-lag', 'Greatest consumer lag', number, 1),
  };

  // Where there is no room for columns, each number stands beside the name of its column.
  const row = (cells, names) => {
    const tr = document.createElement('tr');
    cells.forEach((cell, i) => {
      const td = document.createElement('td');
      td.textContent = cell;
      if (names) td.dataset.name = names[i];
      tr.append(td);
    });
    return tr;
  };
  const rows = (id, list, none) => {
    const body = byId(id);
    const table = body.parentNode;
    const names = table.className ? [...table.tHead.rows[0].cells].map((cell) => cell.textContent) : undefined;
    if (list.length) return body.replaceChildren(...list.map((cells) => row(cells, names)));
    const tr = row([none]);
    tr.firstChild.colSpan = body.parentNode.tHead.rows[0].cells.length;
    body.replaceChildren(tr);
  };

  // Times of the requests between two answers.
  const between = (now, before) => {
    const count = now.count - before.count;
    if (!(count > 0)) return {};
    const below = now.below.map((value, i) => value - (before.below[i] || 0));
    const quantile = (share, bounds) => {
      const rank = share * count;
      const place = below.findIndex((value) => value >= rank);
      if (place < 0 || place >= bounds.length) return bounds[bounds.length - 1];
      const lower = place ? bounds[place - 1] : 0, under = place ? below[place - 1] : 0;
      const inside = below[place] - under;
      return lower + (bounds[place] - lower) * (inside > 0 ? (rank - under) / inside : 1);
    };
    return { count, mean: (now.seconds - before.seconds) / count, quantile };
  };

  let seen = []; // the answers of the last RECENT seconds, oldest first

  const latency = (status, oldest) => {
    for (const name of ['gateway', 'kafka', 'fetches']) {
      const times = between(status.latency[name], oldest.latency[name]);
      const at = (share) => times.quantile ? time(times.quantile(share, status.latency.bounds)) : '–';
      show(name + '-p50', at(0.5));
      show(name + '-p99', at(0.99));
      show(name + '-mean', time(times.mean));
    }
  };

  // What charts show of two moments, which are those of the history or of two answers.
  const draw = (now, last) => {
    charts.connections.add(now.time, now.connections);
    charts.lag.add(now.time, [now.lag]);
    if (!last || now.time <= last.time) return;
    const rates = (name) => now[name].map((value, i) => Math.max(0, value - last[name][i]) / (now.time - last.time));
    const mean = (name) => {
      const count = now[name][0] - last[name][0];
      return count > 0 ? (now[name][1] - last[name][1]) / count : undefined;
    };
    charts.bytes.add(now.time, rates('bytes'));
    charts.errors.add(now.time, rates('errors'));
    charts.latency.add(now.time, [mean('gateway'), mean('kafka')]);
  };

  // An answer as a point of the history.
  const point = ({ time, traffic, latency, connections, errors, lag }) => ({
    time,
    bytes: [traffic.bytesFromClients, traffic.bytesToClients],
    gateway: [latency.gateway.count, latency.gateway.seconds],
    kafka: [latency.kafka.count, latency.kafka.seconds],
    connections: [connections.clients, connections.toBrokers],
    errors: [errors.gateway, errors.broker],
    lag: lag ? lag.records : undefined,
  });
  let drawn; // the last of them

  const render = (status) => {
    let last = seen[seen.length - 1];
    // A restart: what was counted before is gone.
    if (last && status.uptimeSeconds < last.uptimeSeconds) { seen = []; last = undefined; drawn = undefined; }
    const { traffic, connections, errors, build } = status;
    if (last && status.time > last.time) {
      const rate = (of) => Math.max(0, of(status) - of(last)) / (status.time - last.time);
      show('requests', number(rate((s) => s.traffic.requests)));
      const from = rate((s) => s.traffic.bytesFromClients), to = rate((s) => s.traffic.bytesToClients);
      show('bytes-in', bytes(from));
      show('bytes-out', bytes(to));
      show('churn', number(rate((s) => s.connections.opened)) + ' / ' + number(rate((s) => s.connections.closed)));
      for (const name of ['broker', 'gateway', 'authorization', 'authentication']) {
        show('errors-' + name, number(rate((s) => s.errors[name])));
      }
      latency(status, seen[0]);
    }
    if (!drawn || status.time > drawn.time) {
      const now = point(status);
      draw(now, drawn);
      drawn = now;
    }
    if (!last || status.time > last.time) seen.push(status);
    while (seen.length > 1 && seen[1].time <= status.time - RECENT) seen.shift();

    show('in-flight', number(traffic.inFlight));
    show('waiting', number(traffic.waiting));
    show('clients', number(connections.clients));
    show('to-brokers', number(connections.toBrokers));
    const vclusters = connections.vclusters.map((of) => [of.name, number(of.connections)]);
    if (connections.others > 0) vclusters.push(['others', number(connections.others)]);
    rows('vclusters', vclusters, 'none');
    const lately = 'last ' + time(Math.round(status.recentSeconds)).replace('.0', '');
    show('recent', lately);
    for (const node of document.querySelectorAll('.recent')) node.textContent = lately;
    rows('most', errors.most.map((of) => [of.name || (of.code === '<none>' ? 'no answer' : 'unknown'), of.code, of.request, of.origin,
      number(of.recent), number(of.count)]), 'none since the start');
    const perSecond = (value) => value / status.recentSeconds;
    rows('topics', status.topics.map((of) => [of.topic, of.vcluster, bytes(perSecond(of.bytesFromClients)), bytes(perSecond(of.bytesToClients))]),
      'none');
    rows('users', status.users.map((of) => [of.user, of.vcluster, number(perSecond(of.requests))]), 'none');

    const lag = status.lag;
    show('lag-records', lag ? number(lag.records) : 'no data');
    show('lag-seconds', lag && lag.seconds !== undefined ? time(lag.seconds) : 'no data');
    rows('groups', (lag ? lag.groups : []).map((of) => [of.group, of.topic, of.vcluster, number(of.records), time(of.seconds)]),
      'no data');

    byId('checks').replaceChildren(...status.checks.map((check) => {
      const item = document.createElement('li');
      const mark = document.createElement('strong');
      mark.className = check.up ? 'up' : 'down';
      // The condition is that it is not shutting down.
      const isDraining = check.id === 'draining';
      mark.textContent = (check.up ? '✓ ' : '✗ ') + (isDraining ? (check.up ? 'no' : 'yes') : (check.up ? 'up' : 'down'));
      item.append((isDraining ? 'shutting down' : check.id) + ' ', mark);
      return item;
    }));
    show('brokers', number(status.brokers));
    show('uptime', time(status.uptimeSeconds));
    show('version', build.product + ' ' + build.productVersion);
    show('api-version', build.version);
    show('built', build.time);
    show('commit', build.commit.slice(0, 12));
    if (!status.live) state('bad', 'A worker is stuck');
    else if (!status.ready) state('bad', 'Not ready');
    else state('good', 'Ready');
  };

  const state = (kind, text) => {
    byId('state').dataset.state = kind;
    show('state', text);
    document.title = text + ' – Sluicegate ' + location.host;
  };

  // Relative, so that a proxy may put a path in front; without credentials that stood in the address bar.
  const get = async (path) => {
    const address = new URL(path, location.href);
    address.username = '';
    address.password = '';
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), PATIENCE);
    try {
      const answer = await fetch(address, { cache: 'no-store', credentials: 'same-origin', signal: patience.signal });
      if (!answer.ok) throw new Error('status ' + answer.status);
      return await answer.json();
    } finally {
      clearTimeout(timer);
    }
  };
  let answered;

  const ask = async () => {
    try {
      if (!answered) {
        for (const moment of await get('gateway/v2/status/history')) {
          if (drawn && moment.time <= drawn.time) continue;
          draw(moment, drawn);
          drawn = moment;
        }
      }
      render(await get('gateway/v2/status'));
      answered = Date.now();
    } catch (error) {
      const since = answered ? 'No answer since ' + new Date(answered).toLocaleTimeString() : 'No answer';
      state('bad', since);
    } finally {
      setTimeout(ask, document.hidden ? HIDDEN : PERIOD);
    }
  };

  show('where', location.host);
  ask();
})();
