package remote

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// dial connects to a host that was checked by its addresses: names are resolved here, so that what was
// checked is what is connected to.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeouts.Dial)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := c.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	addresses, err = c.permitted(addresses, host, port)
	if err != nil {
		return nil, err
	}
	var first error
	for i, a := range addresses {
		conn, err := c.dialOne(ctx, network, net.JoinHostPort(a.String(), port), len(addresses)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// dialOne gives an address its share of the time that is left, so that one that does not answer leaves
// some for the others.
func (c *Client) dialOne(ctx context.Context, network, address string, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return c.options.Dial(ctx, network, address)
}

func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	addresses, err := c.options.Resolve(ctx, host)
	if err == nil && len(addresses) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addresses, err
}

// permitted drops the addresses that must not be connected to and fails when none is left.
func (c *Client) permitted(addresses []netip.Addr, host, port string) ([]netip.Addr, error) {
	r, err := c.compiled()
	if err != nil {
		return nil, err
	}
	if r.exempts(host, port) || c.isInternal(host, port) {
		return addresses, nil
	}
	kept := slices.DeleteFunc(slices.Clone(addresses), r.denies)
	if len(kept) == 0 {
		name := canonicalHost(net.JoinHostPort(host, port))
		return nil, &Error{Kind: Blocked, Host: name, Message: "registry " + name + ": its address is denied"}
	}
	return kept, nil
}

// isInternal tells whether a host is the integrated registry itself.
func (c *Client) isInternal(name, port string) bool {
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	host := canonicalHost(name + ":" + port)
	return slices.ContainsFunc(c.options.InternalHosts(), func(internal string) bool {
		return internal != "" && canonicalHost(internal) == host
	})
}

// proxyFor returns the proxy of a request, or nil. What a proxy connects to cannot be checked by its
// resolved address, so hosts that are addresses, or names of this machine, are checked here.
func (c *Client) proxyFor(request *http.Request) (*url.URL, error) {
	name, port := request.URL.Hostname(), portOf(request.URL)
	if c.isInternal(name, port) {
		return nil, nil
	}
	proxy, err := c.options.Proxy(request)
	if err != nil || proxy == nil {
		return nil, err
	}
	address, spelt := addressOf(name)
	if !spelt {
		return proxy, nil
	}
	if _, err := c.permitted([]netip.Addr{address}, name, port); err != nil {
		return nil, err
	}
	return proxy, nil
}

// addressOf returns the address that a name spells without being resolved. A name that ends in a number is
// an address in one of the old forms (127.1, 0x7f000001), which resolvers read in different ways: it has
// one that is always denied.
func addressOf(name string) (address netip.Addr, spelt bool) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if address, err := netip.ParseAddr(name); err == nil {
		return address, true
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case last == "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	case strings.Trim(last, "0123456789") == "",
		strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "":
		return netip.IPv4Unspecified(), true
	}
	return netip.Addr{}, false
}

// mustProxy is proxyFor for connections whose addresses are not checked because they lead to a proxy.
func (c *Client) mustProxy(request *http.Request) (*url.URL, error) {
	proxy, err := c.proxyFor(request)
	if err == nil && proxy == nil {
		err = errors.New("the proxy was taken away")
	}
	return proxy, err
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}
